//! Records by id, through the cache; and how every replica's cache hears of a
//! change.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use sqlx::{Error, PgPool};
use uuid::Uuid;

use crate::cache::{BoundedCache, CacheSettings, LoadError, Weigh};
use crate::{FileRecord, files};

/// The channel on which a trigger of the table `files` tells ids.
const CHANNEL: &str = "files_changed";

/// How long to wait before listening again, when the database was out of reach.
const RETRY: Duration = Duration::from_secs(1);

/// The two counters of an `Arc`, in bytes.
const COUNTERS: usize = 16;

/// The largest record, in bytes, as it is held in the cache: both texts at their
/// longest.
pub const LARGEST: usize = crate::record::cost(crate::record::MAX_TEXT, crate::record::MAX_TEXT)
    + size_of::<Arc<FileRecord>>()
    + COUNTERS;

impl Weigh for Arc<FileRecord> {
    fn weigh(&self) -> usize {
        size_of::<Self>() + COUNTERS + self.held()
    }
}

/// Records by id.
#[derive(Debug)]
pub struct Records<S = RandomState> {
    pool: PgPool,
    cache: BoundedCache<Uuid, Arc<FileRecord>, S>,
}

impl<S: BuildHasher + Clone + Send + Sync + 'static> Records<S> {
    /// Loads from `pool`; nothing is kept yet.
    pub fn new(pool: PgPool, settings: CacheSettings, hasher: S) -> Self {
        Self { pool, cache: BoundedCache::with_hasher(settings, hasher) }
    }

    /// The record of `id`. At most as old as the cache's time to live, and no
    /// older than the last change that this process has made or heard of.
    ///
    /// # Errors
    /// [`LoadError`]: missing, too many loads in flight, the database.
    pub async fn get(&self, id: Uuid) -> Result<Arc<FileRecord>, Arc<LoadError<Error>>> {
        let load = || async { Ok(files::get(&self.pool, id).await?.map(Arc::new)) };
        self.cache.get_or_load(id, load).await
    }

    /// Forgets a record that this process has changed: who asks next sees it.
    pub async fn forget(&self, id: Uuid) {
        self.cache.forget(&id).await;
    }

    /// What is kept, for tests and metrics.
    pub fn cache(&self) -> &BoundedCache<Uuid, Arc<FileRecord>, S> {
        &self.cache
    }

    /// Follows what other replicas change, on a connection of its own beside the
    /// pool, for ever. Where it was out of reach, everything is forgotten: what
    /// was missed meanwhile is not known. Until it is noticed, a record may be as
    /// old as the time to live.
    ///
    /// **Cancellation**: safe at any point.
    pub async fn follow(&self, url: &str) {
        loop {
            if let Err(error) = self.listen(url).await {
                tracing::warn!(%error, "changes of other replicas are not heard of");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Returns when the connection is lost.
    async fn listen(&self, url: &str) -> Result<(), Error> {
        let mut listener = PgListener::connect(url).await?;
        listener.listen(CHANNEL).await?;
        self.cache.forget_all();
        while let Some(change) = listener.try_recv().await? {
            match change.payload().parse() {
                Ok(id) => self.cache.forget(&id).await,
                Err(_) => self.cache.forget_all(),
            }
        }
        Ok(())
    }
}
