//! The local blob store: content is a file under a fresh key, staged apart.
//!
//! ```text
//! ROOT/staging/<random>   an upload in flight, or what a crash left of one
//! ROOT/content/<key>      whole, durable, never changed
//! ```
//!
//! Both are on one file system, so that a rename publishes. Keys are UUIDs that
//! the service makes: no client can name a path.

use std::fs::{self, DirBuilder, ReadDir};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::{Content, StagedFile};

/// A folder of content. Clones share it.
#[derive(Clone, Debug)]
pub struct LocalStore {
    folders: Arc<Folders>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Folders {
    staging: PathBuf,
    content: PathBuf,
}

impl LocalStore {
    /// Opens the store at `root`, and creates its folders where they are
    /// missing. Blocks: call it at start.
    ///
    /// # Errors
    /// What the file system answers; above all, that it may not write there.
    pub fn open(root: &Path) -> io::Result<Self> {
        let staging = root.join("staging");
        let content = root.join("content");
        for folder in [&staging, &content] {
            // Content is the service's alone.
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let store =
            Self { folders: Arc::new(Folders { staging, content }), tasks: TaskTracker::new() };
        store.probe()?;
        Ok(store)
    }

    /// Whether the store can be written to, by writing to it. Blocks.
    fn probe(&self) -> io::Result<()> {
        let (staged, file) = StagedFile::create(self.staging(), self.tasks.clone(), ())?;
        drop(file);
        drop(staged);
        Ok(())
    }

    /// [`LocalStore::open`]'s check, again: for a readiness probe.
    ///
    /// # Errors
    /// What the file system answers.
    pub async fn check(&self) -> io::Result<()> {
        let store = self.clone();
        self.blocking(move || store.probe()).await
    }

    /// Makes a staged file the content of `key`: whole or not at all, and
    /// durable when this returns.
    ///
    /// **Cancellation**: once polled, it is done even if the future is dropped.
    ///
    /// # Errors
    /// What the file system answers; then neither staged file nor content exist.
    pub async fn publish<G: Send + 'static>(
        &self,
        file: StagedFile<G>,
        key: Uuid,
    ) -> io::Result<()> {
        let target = self.path(key);
        self.blocking(move || file.publish(&target)).await
    }

    /// Opens the content of `key`.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn content(&self, key: Uuid) -> io::Result<Content> {
        let path = self.path(key);
        let tasks = self.tasks.clone();
        self.blocking(move || Content::open(&path, tasks)).await
    }

    /// Removes the content of `key`. Downloads that have it open go on. What
    /// is not there counts as removed.
    ///
    /// # Errors
    /// What the file system answers.
    pub async fn remove(&self, key: Uuid) -> io::Result<()> {
        let path = self.path(key);
        self.blocking(move || match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        })
        .await
    }

    /// Removes staged files that nobody has written to for `age`, and says how
    /// many they were. `age` must be above the stall limit of uploads plus the
    /// time that a sync may take, so that no live upload is ever touched.
    ///
    /// # Errors
    /// Where the folder can't be read. A file that can't be removed is left.
    pub async fn sweep_staging(&self, age: Duration) -> io::Result<usize> {
        let folder = self.staging().to_owned();
        self.blocking(move || {
            let mut swept = 0;
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if older_than(&entry, age) && fs::remove_file(entry.path()).is_ok() {
                    swept += 1;
                }
            }
            Ok(swept)
        })
        .await
    }

    /// The keys of content that was last written to at least `age` ago, in
    /// batches: the folder may hold more keys than memory should.
    ///
    /// # Errors
    /// Where the folder can't be read.
    pub async fn old_keys(&self, age: Duration) -> io::Result<OldKeys> {
        let folder = self.folders.content.clone();
        let entries = self.blocking(move || fs::read_dir(folder)).await?;
        Ok(OldKeys { store: self.clone(), entries: Some(entries), age })
    }

    /// Waits until all work that the store began on the blocking pool is done,
    /// of dropped futures too. New work is not refused.
    pub async fn close(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Runs `work` on the blocking pool, owned by the store. The queue before
    /// the pool is as long as there are callers: their permits bound it.
    ///
    /// Dropping the future does not stop `work`; what it owns lives until it
    /// returns.
    pub(crate) async fn blocking<T, F>(&self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> io::Result<T> + Send + 'static,
    {
        match self.tasks.spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(io::Error::other("the runtime is shutting down")),
            },
        }
    }

    pub(crate) fn staging(&self) -> &Path {
        &self.folders.staging
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    fn path(&self, key: Uuid) -> PathBuf {
        self.folders.content.join(key.to_string())
    }
}

/// A walk over old content; see [`LocalStore::old_keys`].
#[derive(Debug)]
pub struct OldKeys {
    store: LocalStore,
    entries: Option<ReadDir>,
    age: Duration,
}

impl OldKeys {
    /// The next keys, at most `limit`; none at the end.
    ///
    /// # Errors
    /// Where the folder can't be read; the walk is over then.
    pub async fn next_batch(&mut self, limit: usize) -> io::Result<Vec<Uuid>> {
        let Some(mut entries) = self.entries.take() else {
            return Ok(Vec::new());
        };
        let age = self.age;
        let (batch, entries) = self
            .store
            .blocking(move || {
                let mut batch = Vec::new();
                while batch.len() < limit {
                    let Some(entry) = entries.next().transpose()? else {
                        return Ok((batch, None));
                    };
                    let key = entry.file_name().to_str().and_then(|name| name.parse().ok());
                    if let Some(key) = key
                        && older_than(&entry, age)
                    {
                        batch.push(key);
                    }
                }
                Ok((batch, Some(entries)))
            })
            .await?;
        self.entries = entries;
        Ok(batch)
    }
}

/// By the time of the last write. A clock that stepped back makes files look
/// young, which keeps them: the safe side.
fn older_than(entry: &fs::DirEntry, age: Duration) -> bool {
    let written = entry.metadata().and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| {
        SystemTime::now().duration_since(written).is_ok_and(|elapsed| elapsed >= age)
    })
}
