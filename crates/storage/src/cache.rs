//! A cache whose bound is in bytes: entries with their overhead, and loads in
//! flight.
//!
//! **What goes wrong**: a `HashMap` never forgets. A cache that counts entries
//! knows nothing of their size; one that weighs them forgets its own overhead
//! (moka's: 233 bytes an entry, measured; 257 with a time to live). And what is
//! being loaded is in no cache yet: 500 cold keys of 1 MiB are 500 MiB.
//!
//! **The pattern**: moka, with a weigher that counts key, value and overhead;
//! values above a size are handed out and not kept; a permit for each load.
//!
//! **Single flight**: of many callers that miss one key, one loads. If it is
//! dropped, another takes over.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache;
use tokio::sync::Semaphore;

/// What moka holds for an entry beside key and value, in bytes: measured 257 with
/// a time to live; the rest is for its table, which is not always full. Held by
/// the memory test `cache`.
pub const ENTRY: usize = 280;

/// Entries that moka may hold above its capacity before eviction catches up: its
/// write queue. Measured: 72 MiB alive under a cap of 16, with values of 64 KiB.
const QUEUED: usize = 384;

/// The heap that a cache may hold, in bytes, with at most `writers` callers at
/// once, each of which may have loaded a value that is not counted yet.
///
/// Held by the memory test `cache` for callers that take turns on one thread. Not
/// held yet for threads that do nothing but insert: those were seen to outrun
/// moka's eviction by far. Here every insert has waited for a query.
#[must_use]
pub const fn cost(settings: CacheSettings, writers: usize) -> usize {
    settings.capacity + (QUEUED + writers) * (settings.largest + ENTRY)
}

/// What bounds a cache.
#[derive(Clone, Copy, Debug)]
pub struct CacheSettings {
    /// Bytes kept at most, overhead included; beyond it what was least used goes.
    pub capacity: usize,
    /// The largest value that is kept, in bytes: those in the write queue are
    /// beyond the capacity, so small ones only.
    pub largest: usize,
    /// How long a value is served before it is loaded again.
    pub time_to_live: Duration,
    /// Loads in flight at most; one more is [`LoadError::Busy`].
    pub loads: usize,
}

/// How many bytes a value holds.
pub trait Weigh {
    /// In bytes, heap included. A slice of a larger buffer holds all of it: copy
    /// it first.
    fn weigh(&self) -> usize;
}

/// Why a value was not loaded.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError<E> {
    /// So many loads were in flight already.
    #[error("too many loads are in flight")]
    Busy,
    /// There is no such value. Not kept: a client could fill the cache with keys
    /// that are none.
    #[error("there is no such value")]
    Missing,
    /// The load failed, for every caller that waited for it.
    #[error("{0}")]
    Failed(E),
}

/// A cache. The hasher is a parameter so that a test with a fixed seed gives the
/// same figures in each process; the default is seeded anew, as it must be where
/// clients choose keys.
pub struct BoundedCache<K, V, S = std::collections::hash_map::RandomState> {
    entries: Cache<K, V, S>,
    loads: Semaphore,
    // Changes that made entries stale: see `get_or_load`.
    changes: AtomicU64,
}

impl<K, V, S> fmt::Debug for BoundedCache<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedCache").finish_non_exhaustive()
    }
}

impl<K, V, S> BoundedCache<K, V, S>
where
    K: Hash + Eq + Copy + Send + Sync + 'static,
    V: Weigh + Clone + Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    /// An empty one.
    pub fn with_hasher(settings: CacheSettings, hasher: S) -> Self {
        let CacheSettings { capacity, largest, time_to_live, loads } = settings;
        let weigher = move |_: &K, value: &V| {
            let weight = value.weigh();
            // Heavier than the whole cache is never admitted.
            if weight > largest { u32::MAX } else { in_u32(size_of::<K>() + weight + ENTRY) }
        };
        let entries = Cache::builder()
            .max_capacity(capacity.try_into().unwrap_or(u64::MAX))
            .weigher(weigher)
            .time_to_live(time_to_live)
            .build_with_hasher(hasher);
        Self { entries, loads: Semaphore::new(loads), changes: AtomicU64::new(0) }
    }

    /// The value of `key`: kept, or loaded by `load`, once for all who ask
    /// meanwhile.
    ///
    /// A value that was being loaded while something changed may be the old one, and
    /// whoever asks after the change may have joined the load: it is loaded once
    /// more, and what came of a second such load is not kept.
    ///
    /// **Cancellation**: a load whose caller is dropped is dropped; another
    /// caller that waits for it begins its own.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn get_or_load<E, F>(
        &self,
        key: K,
        load: impl Fn() -> F,
    ) -> Result<V, Arc<LoadError<E>>>
    where
        E: Send + Sync + 'static,
        F: Future<Output = Result<Option<V>, E>>,
    {
        // The usual case, by itself: it allocates nothing, and whoever asks does not
        // hold the whole load's future meanwhile.
        match self.entries.get(&key).await {
            Some(value) => Ok(value),
            None => Box::pin(self.load_once(key, load)).await,
        }
    }

    async fn load_once<E, F>(&self, key: K, load: impl Fn() -> F) -> Result<V, Arc<LoadError<E>>>
    where
        E: Send + Sync + 'static,
        F: Future<Output = Result<Option<V>, E>>,
    {
        let changes = || self.changes.load(Ordering::Acquire);
        let before = AtomicU64::new(0);
        let begun = || {
            before.store(changes(), Ordering::Relaxed);
            load()
        };
        let is_old = || changes() != before.load(Ordering::Relaxed);
        let loading = async {
            let _permit = self.loads.try_acquire().map_err(|_| LoadError::Busy)?;
            let mut loaded = begun().await;
            if is_old() {
                loaded = begun().await;
            }
            loaded.map_err(LoadError::Failed)?.ok_or(LoadError::Missing)
        };
        let entry = self.entries.entry(key).or_try_insert_with(loading).await?;
        if entry.is_fresh() && is_old() {
            self.entries.invalidate(&key).await;
        }
        Ok(entry.into_value())
    }

    /// Forgets `key`: its value has changed.
    pub async fn forget(&self, key: &K) {
        self.changes.fetch_add(1, Ordering::Release);
        self.entries.invalidate(key).await;
    }

    /// Forgets everything: what has changed is not known.
    pub fn forget_all(&self) {
        self.changes.fetch_add(1, Ordering::Release);
        self.entries.invalidate_all();
    }

    /// Lets eviction catch up. moka does so by the way, as it is used; for tests
    /// and metrics that want to know what is kept.
    pub async fn settle(&self) {
        self.entries.run_pending_tasks().await;
    }

    /// Entries that are kept, as far as eviction has caught up.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries.entry_count()
    }
}

/// moka's weights are 32 bits: what does not fit is as heavy as can be, rather
/// than wrapped to something light.
fn in_u32(weight: usize) -> u32 {
    weight.try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::hash_map::RandomState;
    use std::convert::Infallible;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Value(usize);

    impl Weigh for Value {
        fn weigh(&self) -> usize {
            size_of::<Self>()
        }
    }

    const SETTINGS: CacheSettings = CacheSettings {
        capacity: 64 * 1024,
        largest: 64,
        time_to_live: Duration::from_secs(60),
        loads: 1,
    };

    fn cache<V: Weigh + Clone + Send + Sync + 'static>(
        settings: CacheSettings,
    ) -> BoundedCache<u8, V> {
        BoundedCache::with_hasher(settings, RandomState::new())
    }

    /// As large as it says.
    #[derive(Clone)]
    struct Large(usize);

    impl Weigh for Large {
        fn weigh(&self) -> usize {
            self.0
        }
    }

    /// How many of two calls, with `pause` between them, loaded a value of `size` bytes.
    async fn loads(settings: CacheSettings, size: usize, pause: Duration) -> usize {
        let (cache, begun) = (cache(settings), AtomicUsize::new(0));
        let load = || async {
            begun.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(Some(Large(size)))
        };
        assert_eq!(cache.get_or_load(7, load).await.unwrap().0, size);
        cache.settle().await;
        tokio::time::sleep(pause).await;
        assert_eq!(cache.get_or_load(7, load).await.unwrap().0, size);
        begun.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn a_value_is_loaded_again_when_its_time_is_up() {
        let short = CacheSettings { time_to_live: Duration::from_millis(50), ..SETTINGS };
        assert_eq!(loads(short, 1, Duration::from_millis(100)).await, 2);
        assert_eq!(loads(SETTINGS, 1, Duration::from_millis(100)).await, 1);
    }

    #[tokio::test]
    async fn a_value_too_large_is_handed_out_and_not_kept() {
        assert_eq!(loads(SETTINGS, SETTINGS.largest, Duration::ZERO).await, 1);
        assert_eq!(loads(SETTINGS, SETTINGS.largest + 1, Duration::ZERO).await, 2);
    }

    #[tokio::test]
    async fn who_asks_after_a_change_never_joins_a_load_from_before_it() {
        let (cache, stored, turn) = (cache(SETTINGS), AtomicUsize::new(1), Notify::new());
        let begun = AtomicUsize::new(0);
        let load = || async {
            let value = Value(stored.load(Ordering::SeqCst));
            // The first load has read the old value, and waits.
            if begun.fetch_add(1, Ordering::SeqCst) == 0 {
                turn.notified().await;
            }
            Ok::<_, Infallible>(Some(value))
        };
        let change_and_ask = async {
            stored.store(2, Ordering::SeqCst);
            cache.forget(&7).await;
            let asked = cache.get_or_load(7, load);
            let (asked, ()) = tokio::join!(asked, async { turn.notify_one() });
            asked
        };
        let (_, after) = tokio::join!(biased; cache.get_or_load(7, load), change_and_ask);
        assert_eq!(after.unwrap(), Value(2));
        assert_eq!(cache.get_or_load(7, load).await.unwrap(), Value(2));
        assert_eq!(begun.load(Ordering::SeqCst), 2, "loaded once more, and kept");
    }

    #[tokio::test]
    async fn a_load_too_many_is_told_and_what_is_not_there_is_not_kept() {
        let cache = cache(SETTINGS);
        let never = || std::future::pending::<Result<Option<Value>, Infallible>>();
        let other = || async { Ok::<_, Infallible>(Some(Value(1))) };
        let asked = async {
            tokio::select! { biased;
                _ = cache.get_or_load(1, never) => None,
                busy = cache.get_or_load(2, other) => Some(busy),
            }
        };
        let busy = asked.await.unwrap().unwrap_err();
        assert!(matches!(&*busy, LoadError::Busy), "{busy}");
        let missing = cache.get_or_load(3, || async { Ok::<_, Infallible>(None) }).await;
        assert!(matches!(&*missing.unwrap_err(), LoadError::Missing));
        assert_eq!(cache.get_or_load(3, other).await.unwrap(), Value(1));
    }
}
