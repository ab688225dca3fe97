//! The local blob store: content is a file under a fresh key, staged apart.
//!
//! ```text
//! ROOT/staging/<random>   an upload in flight, or what a crash left of one
//! ROOT/content/<key>      whole, durable, never changed
//! ROOT/database           which database has the records: see [`LocalStore::claim`]
//! ```
//!
//! Both are on one file system, so that a rename publishes. Keys are UUIDs that
//! the service makes: no client can name a path.
//!
//! What both hold, in bytes of files, is counted once when the store is opened, and
//! with each change from then on: see [`Quota`]. What another process does in the
//! folder is not seen until the next start. Content that is deleted while downloads
//! have it open is counted as gone, and takes its space until they end.

use std::fs::{self, DirBuilder, File, ReadDir, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::{Content, Quota, StagedFile};

/// The quota where none is given, in percent of the file system that has the
/// folder. The tenth that is left is for whoever shares the disk: where it is full,
/// a database stops, and a service that is told 507 does not.
pub const DEFAULT_SHARE: u64 = 90;

/// A folder of content. Clones share it.
#[derive(Clone, Debug)]
pub struct LocalStore {
    folders: Arc<Folders>,
    quota: Quota,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Folders {
    staging: PathBuf,
    content: PathBuf,
    owner: PathBuf,
}

impl LocalStore {
    /// Opens the store at `root`, and creates its folders where they are
    /// missing. Content and staged files may hold `quota` bytes, or nine tenths of
    /// the file system where none is given ([`DEFAULT_SHARE`]). Blocks, and looks at
    /// every file: call it at start.
    ///
    /// # Errors
    /// What the file system answers; above all, that it may not write there.
    pub fn open(root: &Path, quota: Option<u64>) -> io::Result<Self> {
        let staging = root.join("staging");
        let content = root.join("content");
        for folder in [&staging, &content] {
            // Content is the service's alone.
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let limit = quota.map_or_else(|| share_of_the_file_system(root), Ok)?;
        let kept = size_of_files(&staging)?.saturating_add(size_of_files(&content)?);
        let store = Self {
            folders: Arc::new(Folders { staging, content, owner: root.join("database") }),
            quota: Quota::new(limit, kept),
            tasks: TaskTracker::new(),
        };
        store.probe()?;
        Ok(store)
    }

    /// Makes the folder that of the database `owner`, if it is not another's;
    /// returns whose it is. Blocks: call it at start.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn claim(&self, owner: Uuid) -> io::Result<Uuid> {
        let path = self.folders.owner.as_path();
        match File::create_new(path) {
            Ok(mut file) => {
                writeln!(file, "{owner}")?;
                file.sync_all()?;
                Ok(owner)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let text = fs::read_to_string(path)?;
                text.trim()
                    .parse()
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the store can be written to, by writing to it. Blocks.
    fn probe(&self) -> io::Result<()> {
        let reserved = self.quota.reserve();
        StagedFile::create(self.staging(), self.tasks.clone(), reserved, ()).map(drop)
    }

    /// [`LocalStore::open`]'s check, again: for a readiness probe. `guard` is
    /// held until it is done, also if the future is dropped: a disk that hangs
    /// must not gather checks.
    ///
    /// # Errors
    /// What the file system answers.
    pub async fn check<G: Send + 'static>(&self, guard: G) -> io::Result<()> {
        let store = self.clone();
        self.blocking(move || {
            let checked = store.probe();
            drop(guard);
            checked
        })
        .await
    }

    /// Makes a staged file the content of `key`: whole or not at all, and
    /// durable when this returns. Gives back what paid for it, for what is left to
    /// do.
    ///
    /// **Cancellation**: once polled, it is done even if the future is dropped.
    ///
    /// # Errors
    /// What the file system answers; then neither staged file nor content exist.
    pub async fn publish<G: Send + 'static>(
        &self,
        file: StagedFile<G>,
        key: Uuid,
    ) -> io::Result<G> {
        let target = self.path(key);
        self.blocking(move || file.publish(&target)).await
    }

    /// Opens the content of `key`. `guard` pays for it: it is held until the
    /// content is closed, in whatever thread.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn content<G: Send + Sync + 'static>(
        &self,
        key: Uuid,
        guard: G,
    ) -> io::Result<Content<G>> {
        let path = self.path(key);
        let tasks = self.tasks.clone();
        self.blocking(move || Content::open(&path, tasks, guard)).await
    }

    /// Removes the content of `key`. Downloads that have it open go on. What
    /// is not there counts as removed. `guard` is held until it is done, also if
    /// the future is dropped.
    ///
    /// # Errors
    /// What the file system answers.
    pub async fn remove<G: Send + 'static>(&self, key: Uuid, guard: G) -> io::Result<()> {
        let (path, quota) = (self.path(key), self.quota.clone());
        self.blocking(move || {
            let removed = remove(&path, &quota);
            drop(guard);
            match removed {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            }
        })
        .await
    }

    /// Removes staged files that nobody has written to for `age`, and says how
    /// many they were. One that an upload holds, in any process, is locked, and
    /// is never touched; `age` is for file systems without locks, and for the
    /// moment between making a file and locking it.
    ///
    /// # Errors
    /// Where the folder can't be read. A file that can't be removed is left.
    pub async fn sweep_staging(&self, age: Duration) -> io::Result<usize> {
        let (folder, quota) = (self.staging().to_owned(), self.quota.clone());
        self.blocking(move || {
            let mut swept = 0;
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let path = entry.path();
                if older_than(&entry, age) && !is_held(&path) && remove(&path, &quota).is_ok() {
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

    /// Runs `work` on the blocking pool, owned by the store.
    ///
    /// Dropping the future does not stop `work`; what it owns lives until it
    /// returns. So the guard that `work` owns is what bounds the queue before the
    /// pool, and not the number of callers.
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

    /// What bounds content and staged files.
    #[must_use]
    pub fn quota(&self) -> &Quota {
        &self.quota
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

/// Removes a file that counts as kept.
fn remove(path: &Path, quota: &Quota) -> io::Result<()> {
    let bytes = fs::symlink_metadata(path)?.len();
    fs::remove_file(path)?;
    quota.release(bytes);
    Ok(())
}

/// Of all files in `folder`, in bytes: one is looked at at a time.
fn size_of_files(folder: &Path) -> io::Result<u64> {
    let mut size: u64 = 0;
    for entry in fs::read_dir(folder)? {
        // One may be gone by the time that it is looked at.
        let metadata = entry?.metadata().ok().filter(fs::Metadata::is_file);
        size = size.saturating_add(metadata.map_or(0, |metadata| metadata.len()));
    }
    Ok(size)
}

fn share_of_the_file_system(root: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(root)?;
    let bytes = u128::from(system.f_blocks) * u128::from(system.f_frsize);
    let share = bytes * u128::from(DEFAULT_SHARE) / 100;
    Ok(u64::try_from(share).unwrap_or(u64::MAX))
}

/// Whether somebody has the file locked.
fn is_held(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// By the time of the last write. A clock that stepped back makes files look
/// young, which keeps them: the safe side.
fn older_than(entry: &fs::DirEntry, age: Duration) -> bool {
    let written = entry.metadata().and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| {
        SystemTime::now().duration_since(written).is_ok_and(|elapsed| elapsed >= age)
    })
}
