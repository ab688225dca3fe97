//! The local blob store: content is a file under a fresh key, staged apart.
//!
//! ```text
//! ROOT/staging/<random>   an upload in flight, or what a crash left of one
//! ROOT/content/<key>      whole, durable, never changed
//! ROOT/quarantine/<key>.… content that is not what was stored: see [`crate::check`]
//! ROOT/database           which database has the records: see [`LocalStore::claim`]
//! ```
//!
//! Both are on one file system, so that a rename publishes. Keys are UUIDs that
//! the service makes: no client can name a path.
//!
//! What both hold, in bytes of files and in files, is counted when the store is opened, and with
//! each change from then on: see [`Quota`]. What another process does in the folder
//! is seen by the next walk. Content that is deleted while downloads have it open is
//! counted as gone, and takes its space until they end.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::quota::charge;
use crate::verified::Verified;
use crate::{Content, Quota, StagedFile};

/// The quota where none is given, in percent of the file system that has the
/// folder. The tenth that is left is for whoever shares the disk: where it is full,
/// a database stops, and a service that says 507 does not. Held by `tests/http`: store.
pub const DEFAULT_SHARE: u64 = 90;

/// A folder of content. Clones share it.
#[derive(Clone, Debug)]
pub struct LocalStore {
    folders: Arc<Folders>,
    quota: Quota,
    verified: Arc<Verified>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Folders {
    staging: PathBuf,
    content: PathBuf,
    quarantine: PathBuf,
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
        let store = Self::at(root, Quota::new(0, 0, 0));
        create(store.staging())?;
        create(store.contents())?;
        let limit = quota.map_or_else(|| share_of_the_file_system(root), Ok)?;
        let content = charge_of_files(store.contents())?;
        let quota = Quota::new(limit, content, charge_of_files(store.staging())?);
        let store = Self { quota, ..store };
        store.probe()?;
        Ok(store)
    }

    /// Opens the store that is at `root`, to look after it: nothing is created, and
    /// nothing can be uploaded. Blocks.
    ///
    /// # Errors
    /// What the file system answers; above all, that there is none.
    pub fn existing(root: &Path) -> io::Result<Self> {
        let store = Self::at(root, Quota::new(0, 0, 0));
        for folder in [store.staging(), store.contents(), &store.folders.owner] {
            fs::metadata(folder)?;
        }
        Ok(store)
    }

    fn at(root: &Path, quota: Quota) -> Self {
        let [staging, content, quarantine, owner] =
            ["staging", "content", "quarantine", "database"].map(|name| root.join(name));
        let folders = Folders { staging, content, quarantine, owner };
        let (verified, tasks) = (Arc::default(), TaskTracker::new());
        Self { folders: Arc::new(folders), quota, verified, tasks }
    }

    /// Makes the folder that of the database `owner`, if it is not another's;
    /// returns whose it is. Blocks: call it at start.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn claim(&self, owner: Uuid) -> io::Result<Uuid> {
        let path = self.folders.owner.as_path();
        // Whole, or not at all: a crash in between must not leave an empty one.
        let new = path.with_extension(Uuid::new_v4().to_string());
        let mut file = File::create_new(&new)?;
        writeln!(file, "{owner}")?;
        file.sync_all()?;
        let linked = fs::hard_link(&new, path);
        fs::remove_file(&new)?;
        match linked {
            Ok(()) => Ok(owner),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.owner(),
            Err(error) => Err(error),
        }
    }

    /// Which database has claimed the folder. Blocks.
    ///
    /// # Errors
    /// What the file system answers: `NotFound` where none has.
    pub fn owner(&self) -> io::Result<Uuid> {
        let text = fs::read_to_string(&self.folders.owner)?;
        text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
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
    pub async fn publish<G: Send + Sync + 'static>(
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
        let (verified, tasks) = (self.verified.clone(), self.tasks.clone());
        self.blocking(move || Content::open(&path, verified, tasks, guard)).await
    }

    /// The size of the content of `key`, in bytes, by opening it as a download would.
    /// `guard` is held until it is closed, also if the future is dropped.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn size<G: Send + Sync + 'static>(&self, key: Uuid, guard: G) -> io::Result<u64> {
        let (path, verified, tasks) = (self.path(key), self.verified.clone(), self.tasks.clone());
        self.blocking(move || Ok(Content::open(&path, verified, tasks, guard)?.size())).await
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
            let size = fs::symlink_metadata(&path).map(|metadata| metadata.len());
            let removed =
                size.and_then(|size| quota.remove(charge(size), || fs::remove_file(&path)));
            drop(guard);
            match removed {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            }
        })
        .await
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
        Self::done(&mut self.begin(work)).await
    }

    /// The same, and goes on meanwhile: see [`LocalStore::done`].
    pub(crate) fn begin<T, F>(&self, work: F) -> JoinHandle<io::Result<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> io::Result<T> + Send + 'static,
    {
        self.tasks.spawn_blocking(work)
    }

    /// What came of `work` that was begun.
    pub(crate) async fn done<T>(work: &mut JoinHandle<io::Result<T>>) -> io::Result<T> {
        match work.await {
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

    pub(crate) fn quarantine_folder(&self) -> &Path {
        &self.folders.quarantine
    }

    pub(crate) fn contents(&self) -> &Path {
        &self.folders.content
    }

    pub(crate) fn path(&self, key: Uuid) -> PathBuf {
        self.folders.content.join(key.to_string())
    }
}

/// Creates a folder where it is missing. Content is the service's alone.
pub(crate) fn create(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// What all files in `folder` count for, in bytes: one is looked at at a time.
fn charge_of_files(folder: &Path) -> io::Result<u64> {
    let mut size: u64 = 0;
    for entry in fs::read_dir(folder)? {
        // One may be gone by the time that it is looked at.
        let metadata = entry?.metadata().ok().filter(fs::Metadata::is_file);
        size = size.saturating_add(metadata.map_or(0, |metadata| charge(metadata.len())));
    }
    Ok(size)
}

fn share_of_the_file_system(root: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(root)?;
    let bytes = u128::from(system.f_blocks) * u128::from(system.f_frsize);
    let share = bytes * u128::from(DEFAULT_SHARE) / 100;
    Ok(u64::try_from(share).unwrap_or(u64::MAX))
}
