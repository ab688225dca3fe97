//! The measurements that cases share. Warm-ups come first; repetitions are told
//! one by one and never averaged.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use anyhow::{Context as _, Result};
use meter::{Curve, Probe, Sample};

use super::service::quiet;
use super::{Client, MIB, Service};

/// One use of the service by one client, prepared and not begun.
pub type Operation<T = ()> = Pin<Box<dyn Future<Output = Result<T>>>>;

/// After these, pools are full, threads run, statements are prepared.
pub const WARM_UPS: usize = 5;

/// Enough to see a spread, few enough to wait for.
pub const REPETITIONS: usize = 3;

/// A slope from 1 to 64 MiB: what grows by one byte in a thousand shows.
pub const SIZES: [u64; 4] = [1, 4, 16, 64];

/// A small table is read so often at most: as many pages as of a large one, in all.
const MOST_READINGS: u64 = 32;

const IN_FLIGHT: [usize; 5] = [1, 2, 4, 8, 16];

/// Operations of one block of a measurement of what is retained: below 1,000 a
/// leak of a few bytes each is lost in what comes and goes.
const BLOCK: usize = 1_000;

/// A variant of a case: what it does for a client with `size` bytes.
pub trait Subject {
    fn service(&self) -> &Service;

    /// A whole, successful use. Everything that the client needs is allocated
    /// when this returns.
    fn operation(&self, size: u64) -> Operation;

    /// What must be true after `count` operations; clears it away.
    fn check(&self, count: usize, size: u64) -> Result<()>;
}

/// `peak_slope`: what one more MiB of content adds to the peak, over all sizes.
/// `peak_segment`: the same, from one size to the next, where it is most.
pub async fn peak_slope(subject: &impl Subject) -> Result<[Sample; 2]> {
    for _ in 0..WARM_UPS {
        peak(subject, 1, MIB).await?;
    }
    let mut curves = Vec::new();
    for _ in 0..REPETITIONS {
        let mut points = Vec::new();
        for mib in SIZES {
            points.push((number(mib), number(peak(subject, 1, mib * MIB).await? as u64)));
        }
        curves.push(Curve::new("MiB", points));
    }
    Ok([Sample::slope("peak_slope", &curves), Sample::steepest("peak_segment", &curves)])
}

/// `peak_slope` and `peak_segment` over rows: what one more in the table adds to
/// the peak. `grow` brings the table to so many.
///
/// Each page of rows is a throw of the dice: the database may send it in one
/// piece or in several. A small table is read several times and the worst taken,
/// so that the dice are thrown as often as for a large one, up to a point.
pub async fn peak_over_rows(
    subject: &impl Subject,
    sizes: &[u64],
    grow: impl AsyncFn(u64) -> Result<()>,
) -> Result<[Sample; 2]> {
    let largest = sizes.last().copied().unwrap_or_default();
    let mut points = vec![Vec::new(); REPETITIONS];
    for rows in sizes.iter().copied() {
        grow(rows).await?;
        // Warms up what the growth has changed: plans, statistics.
        peak(subject, 1, rows).await?;
        for points in &mut points {
            let mut worst = 0;
            for _ in 0..(largest / rows).min(MOST_READINGS) {
                worst = worst.max(peak(subject, 1, rows).await?);
            }
            points.push((number(rows), number(worst as u64)));
        }
    }
    let curves: Vec<_> = points.into_iter().map(|points| Curve::new("rows", points)).collect();
    Ok([Sample::slope("peak_slope", &curves), Sample::steepest("peak_segment", &curves)])
}

/// `peak_per_concurrent`: what one more operation in flight, of 1 MiB on a new
/// connection, adds to the peak.
pub async fn peak_per_concurrent(subject: &impl Subject) -> Result<Sample> {
    per_concurrent(subject, |_| 1).await
}

/// The same where the database decides what meets: at each count the peak is one of
/// several figures, a page and a read buffer apart (50 KiB), however many are in flight.
/// From a lower one of one count to an upper one of the next is no growth: of several
/// readings the worst is taken. Fewer in flight are read more often, so that the dice are
/// thrown as often for one as for 16.
pub async fn worst_per_concurrent(subject: &impl Subject) -> Result<Sample> {
    per_concurrent(subject, |count| 4 * 16 / count).await
}

/// The peak of one operation of `size` bytes.
pub async fn peak_of_one(subject: &impl Subject, size: u64) -> Result<Sample> {
    peak(subject, 1, size).await?;
    let mut peaks = Vec::new();
    for _ in 0..REPETITIONS {
        peaks.push(number(peak(subject, 1, size).await? as u64));
    }
    Ok(Sample::new("peak", peaks))
}

async fn per_concurrent(
    subject: &impl Subject,
    readings: impl Fn(usize) -> usize,
) -> Result<Sample> {
    for _ in 0..WARM_UPS {
        peak(subject, 16, MIB).await?;
    }
    let mut curves = Vec::new();
    for _ in 0..REPETITIONS {
        let mut points = Vec::new();
        for count in IN_FLIGHT {
            let mut worst = 0;
            for _ in 0..readings(count) {
                worst = worst.max(peak(subject, count, MIB).await?);
            }
            points.push((number(count as u64), number(worst as u64)));
        }
        curves.push(Curve::new("in flight", points));
    }
    Ok(Sample::steepest("peak_per_concurrent", &curves))
}

/// `retained_per_op`: the slope over all blocks of operations, `retained`: what is
/// live after each that was not before. Not the slope of each block: the lists of what
/// the cache's hash table frees later are there or not (2,072 B each), and that is a
/// step, which `retained` holds, and no growth.
pub async fn retained(service: &Service, operation: impl Fn() -> Operation) -> Result<[Sample; 2]> {
    retained_over(service, WARM_UPS * 10, BLOCK, 1, operation).await
}

/// The same after so many warm-ups, over blocks of so many operations, each of which
/// counts for `requests`.
pub async fn retained_over(
    service: &Service,
    warm_ups: usize,
    operations: usize,
    requests: usize,
    operation: impl Fn() -> Operation,
) -> Result<[Sample; 2]> {
    let block = async |count: usize| -> Result<usize> {
        for _ in 0..count {
            operation().await?;
            service.closed().await;
        }
        Ok(service.rest().await?)
    };
    let mut live = Vec::with_capacity(1 + REPETITIONS); // its growth would be retained
    live.push(block(warm_ups).await?);
    for _ in 0..REPETITIONS {
        live.push(block(operations).await?);
    }
    let above = |live: &usize, base: usize| *live as f64 - base as f64;
    let done = |blocks: usize| (blocks * operations * requests) as f64;
    let points = live.iter().enumerate().map(|(i, now)| (done(i), above(now, live[0])));
    let curve = Curve::new("operations", points);
    let per_op = Sample::slope("retained_per_op", &[curve]);
    let retained = live[1..].iter().map(|now| above(now, live[0])).collect();
    Ok([per_op, Sample::new("retained", retained)])
}

/// What each of `stops` holds while a client has stopped there, in bytes. An
/// operation returns the client that stopped.
pub async fn held(
    service: &Service,
    stops: impl IntoIterator<Item = u64>,
    operation: impl Fn(u64) -> Operation<Client>,
) -> Result<Vec<f64>> {
    let mut held = Vec::new();
    for stop in stops {
        let mut operation = operation(stop);
        let before = service.rest().await?;
        let client = operation.as_mut().await.with_context(|| format!("stopping at {stop}"))?;
        let live = quiet().await?;
        held.push(live as f64 - before as f64);
        drop(client);
    }
    Ok(held)
}

/// The peak that `count` operations at once add, in bytes.
async fn peak(subject: &impl Subject, count: usize, size: u64) -> Result<usize> {
    let mut operations: Vec<Operation> = (0..count).map(|_| subject.operation(size)).collect();
    subject.service().rest().await?;
    let probe = Probe::start();
    all(&mut operations).await?;
    let peak = probe.read().peak;
    subject.service().closed().await;
    subject.check(count, size)?;
    Ok(peak)
}

/// Runs all at once, without allocating.
pub async fn all(operations: &mut [Operation]) -> Result<()> {
    let mut done = 0_u64;
    poll_fn(|cx| {
        for (i, operation) in operations.iter_mut().enumerate() {
            if done & (1 << i) == 0
                && let Poll::Ready(result) = operation.as_mut().poll(cx)
            {
                done |= 1 << i;
                if result.is_err() {
                    return Poll::Ready(result);
                }
            }
        }
        if done.count_ones() as usize == operations.len() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await
}

fn number(count: u64) -> f64 {
    count as f64
}
