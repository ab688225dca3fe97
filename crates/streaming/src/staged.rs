//! A file that is not content yet: it is removed when dropped.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// A file in the staging folder, and the guard that pays for the upload.
///
/// Dropping it removes the file, on the blocking pool where there is one:
/// freeing the blocks of 10 GiB takes a file system long enough to stall an
/// async worker. The guard is held until the file is gone, so that aborts in a
/// loop can't queue up removals beyond the number of guards.
///
/// It is open and locked for as long as it is staged, so that a sweep, of this
/// process or another, can tell it from what a crash left.
#[derive(Debug)]
pub struct StagedFile<G: Send + 'static> {
    // None once published or handed to the removal.
    inner: Option<Inner<G>>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Inner<G> {
    file: File,
    path: PathBuf,
    guard: G,
}

impl<G: Send + 'static> StagedFile<G> {
    /// Creates a new file with a fresh name in `folder`. Blocks.
    ///
    /// # Errors
    /// What the file system answers: no space, no such folder, no descriptor.
    pub(crate) fn create(folder: &Path, tasks: TaskTracker, guard: G) -> io::Result<Self> {
        let path = folder.join(Uuid::new_v4().simple().to_string());
        let file = File::options().write(true).create_new(true).open(&path)?;
        // Where the file system has no locks, the sweep goes by age alone.
        let _ = file.try_lock();
        Ok(Self { inner: Some(Inner { file, path, guard }), tasks })
    }

    /// The file, to write to.
    ///
    /// # Errors
    /// None is left once it is published, which takes the value.
    pub(crate) fn file(&self) -> io::Result<&File> {
        self.inner.as_ref().map(|inner| &inner.file).ok_or_else(gone)
    }

    /// Moves the file to `target`, and makes the move durable; gives the guard
    /// back. Its age counts from now: it may have waited for others. Blocks.
    ///
    /// # Errors
    /// Where the rename failed, the staged file is removed. Where only the sync
    /// of the folder failed, the moved file is: it may not survive a crash.
    pub(crate) fn publish(mut self, target: &Path) -> io::Result<G> {
        if let Some(Inner { file, path, .. }) = &self.inner {
            file.set_modified(SystemTime::now())?;
            fs::rename(path, target)?;
        }
        let Inner { guard, .. } = self.inner.take().ok_or_else(gone)?;
        let folder = target.parent().unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        if synced.is_err() {
            remove(target);
        }
        synced.map(|()| guard)
    }
}

fn gone() -> io::Error {
    io::Error::other("the file is not staged any more")
}

impl<G: Send + 'static> Drop for StagedFile<G> {
    fn drop(&mut self) {
        let Some(Inner { file, path, guard }) = self.inner.take() else {
            return;
        };
        let removal = move || {
            remove(&path);
            drop(file);
            drop(guard);
        };
        match Handle::try_current() {
            // If the runtime shuts down before the removal ran, the file stays
            // behind, and the sweep of the next start takes it.
            Ok(runtime) => drop(self.tasks.spawn_blocking_on(removal, &runtime)),
            Err(_) => removal(),
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "a staged file could not be removed; the sweep will try again");
    }
}
