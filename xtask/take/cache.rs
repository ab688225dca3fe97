//! Cache: bounded in bytes, overhead and loads in flight included.
//!
//! **The twin**: moka's `max_capacity`, in entries, and no weigher.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use anyhow::{Result, ensure};
use meter::{Probe, Report, Sample};
use pattern::cache::{BoundedCache, CacheSettings, Weigh, cost};

use super::Case;
use crate::rig;
use crate::rig::measure::REPETITIONS;
use crate::rig::service::quiet;

pub const CASE: Case = Case {
    name: "cache",
    about: "values by key: bounded in bytes, overhead and loads in flight included",
    pattern: || rig::run(variant::<Bounded>()),
    twin: || rig::run(variant::<Naive>()),
};

/// Callers that fill the cache at once.
const WRITERS: usize = 8;

/// Loads in flight at most, and callers that want one at the same time.
const LOADS: usize = 4;
const CALLERS: usize = 64;

/// What a value holds, in bytes: a text, its two counters, and the pointer to them.
const LARGEST: usize = 640;
const TEXT: usize = LARGEST - 16 - size_of::<Value>();

#[derive(Clone)]
struct Value(Arc<[u8]>);

impl Weigh for Value {
    fn weigh(&self) -> usize {
        size_of::<Self>() + 16 + self.0.len()
    }
}

trait Cache {
    fn new(capacity: usize, loads: usize) -> Self;
    async fn get<F: Future<Output = Value>>(&self, key: u64, load: impl Fn() -> F)
    -> Option<Value>;
}

struct Bounded(BoundedCache<u64, Value>);

impl Cache for Bounded {
    fn new(capacity: usize, loads: usize) -> Self {
        Self(BoundedCache::with_hasher(settings(capacity, loads), Default::default()))
    }

    async fn get<F: Future<Output = Value>>(
        &self,
        key: u64,
        load: impl Fn() -> F,
    ) -> Option<Value> {
        let load = || async { Ok::<_, Infallible>(Some(load().await)) };
        self.0.get_or_load(key, load).await.ok()
    }
}

fn settings(capacity: usize, loads: usize) -> CacheSettings {
    CacheSettings { capacity, largest: LARGEST, time_to_live: Duration::from_secs(60), loads }
}

struct Naive(moka::future::Cache<u64, Value>);

impl Cache for Naive {
    fn new(_: usize, _: usize) -> Self {
        Self(moka::future::Cache::new(10_000))
    }

    async fn get<F: Future<Output = Value>>(
        &self,
        key: u64,
        load: impl Fn() -> F,
    ) -> Option<Value> {
        Some(self.0.get_with(key, load()).await)
    }
}

async fn variant<C: Cache>() -> Result<Report> {
    let mut samples = Vec::new();
    for capacity in [256 << 10, 512 << 10, 1 << 20] {
        let mut peaks = Vec::new();
        for _ in 0..REPETITIONS {
            peaks.push(passed::<C>(capacity).await? as f64);
        }
        let formula = cost(settings(capacity, WRITERS), WRITERS);
        let metric = format!("passed_{}k", capacity >> 10);
        samples.push(Sample::new("peak", peaks).share_of(&metric, formula));
    }
    let mut in_flight = Vec::new();
    for _ in 0..REPETITIONS {
        in_flight.push(loads_in_flight::<C>().await as f64);
    }
    samples.push(Sample::new("loads", in_flight));
    Ok(Report { samples })
}

/// The peak while values of 100 times `capacity` pass through a cache, by writers that
/// take turns, in bytes.
async fn passed<C: Cache>(capacity: usize) -> Result<usize> {
    let values = 100 * capacity / LARGEST;
    quiet().await?;
    let probe = Probe::start();
    let cache = C::new(capacity, WRITERS);
    let write = async |writer: usize| -> Result<()> {
        for key in (writer..values).step_by(WRITERS) {
            let load = || async {
                tokio::task::yield_now().await;
                Value(vec![7; TEXT].into())
            };
            ensure!(cache.get(key as u64, load).await.is_some(), "no value came");
        }
        Ok(())
    };
    futures_util::future::try_join_all((0..WRITERS).map(write)).await?;
    Ok(probe.read().peak)
}

/// How many loads are begun that never end, of many that are wanted at once.
async fn loads_in_flight<C: Cache>() -> usize {
    let cache = C::new(1 << 16, LOADS);
    let begun = AtomicUsize::new(0);
    let get = |key: usize| {
        cache.get(key as u64, || async {
            begun.fetch_add(1, Ordering::Relaxed);
            pending().await
        })
    };
    let mut callers: Vec<_> = (0..CALLERS).map(|key| Box::pin(get(key))).collect();
    poll_fn(|cx| {
        for caller in &mut callers {
            let _ = caller.as_mut().poll(cx);
        }
        Poll::Ready(())
    })
    .await;
    begun.load(Ordering::Relaxed)
}
