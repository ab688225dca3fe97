//! A file that is not content yet: it is removed when dropped.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::quota::{Exceeded, Reserved};

/// A file in the staging folder, the guard that pays for the upload, and what
/// it takes of the quota.
///
/// Dropping it removes the file, on the blocking pool where there is one:
/// freeing the blocks of 10 GiB takes a file system long enough to stall an
/// async worker. The guard is held until the file is gone, so that aborts in a
/// loop can't queue up removals beyond the number of guards; and so are the bytes
/// of the quota, which are on disk until then.
///
/// It is open and locked for as long as it is staged, so that a sweep, of this
/// process or another, can tell it from what a crash left. A write under way has it
/// too: it goes with the last of both.
#[derive(Debug)]
pub struct StagedFile<G: Send + Sync + 'static>(Arc<Shared<G>>);

#[derive(Debug)]
struct Shared<G: Send + Sync + 'static> {
    // None once published or handed to the removal.
    inner: Option<Inner<G>>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Inner<G> {
    file: File,
    path: PathBuf,
    reserved: Reserved,
    guard: G,
}

impl<G: Send + Sync + 'static> StagedFile<G> {
    /// Creates a new file with a fresh name in `folder`. Blocks.
    ///
    /// # Errors
    /// What the file system answers: no space, no such folder, no descriptor.
    pub(crate) fn create(
        folder: &Path,
        tasks: TaskTracker,
        reserved: Reserved,
        guard: G,
    ) -> io::Result<Self> {
        let path = folder.join(Uuid::new_v4().simple().to_string());
        let file = File::options().write(true).create_new(true).open(&path)?;
        // Where the file system has no locks, the sweep goes by age alone.
        let _ = file.try_lock();
        let inner = Some(Inner { file, path, reserved, guard });
        Ok(Self(Arc::new(Shared { inner, tasks })))
    }

    /// Another hand on it, for a write.
    pub(crate) fn share(&self) -> Self {
        Self(self.0.clone())
    }

    /// Takes `bytes` of the quota, before they are written; see
    /// [`Reserved::grow`].
    ///
    /// # Errors
    /// [`Exceeded`].
    pub(crate) async fn grow(
        &self,
        bytes: u64,
        rest: u64,
        deadline: Instant,
    ) -> Result<(), Exceeded> {
        match &self.0.inner {
            Some(inner) => inner.reserved.grow(bytes, rest, deadline).await,
            None => Ok(()), // published: nothing is written any more
        }
    }

    /// The file, to write to.
    ///
    /// # Errors
    /// None is left once it is published, which takes the value.
    pub(crate) fn file(&self) -> io::Result<&File> {
        self.0.inner.as_ref().map(|inner| &inner.file).ok_or_else(gone)
    }

    /// Moves the file to `target`, and makes the move durable; gives the guard
    /// back. Its age counts from now: it may have waited for others. Blocks.
    ///
    /// # Errors
    /// Where the rename failed, the staged file is removed. Where only the sync
    /// of the folder failed, the moved file is: it may not survive a crash.
    pub(crate) fn publish(self, target: &Path) -> io::Result<G> {
        let mut shared = Arc::into_inner(self.0).ok_or_else(gone)?;
        let Inner { file, path, reserved, guard } = shared.inner.take().ok_or_else(gone)?;
        let published = reserved.publish(|| {
            file.set_modified(SystemTime::now())?;
            fs::rename(&path, target)?;
            let folder = target.parent().unwrap_or(Path::new("."));
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            if synced.is_err() {
                remove(target);
            }
            synced
        });
        published.map(|()| guard).map_err(|(error, reserved)| {
            // Where it was moved, nothing is there to remove.
            remove_staged(&path, file, reserved);
            error
        })
    }
}

/// What is written at this moment would not be in it: nobody asks then.
fn gone() -> io::Error {
    io::Error::other("the file is not staged any more")
}

impl<G: Send + Sync + 'static> Drop for Shared<G> {
    fn drop(&mut self) {
        let Some(Inner { file, path, reserved, guard }) = self.inner.take() else {
            return;
        };
        reserved.give_up();
        let removal = move || {
            remove_staged(&path, file, reserved);
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

fn remove_staged(path: &Path, file: File, reserved: Reserved) {
    let removed = remove(path);
    drop(file); // only then its blocks are free
    if removed { drop(reserved) } else { reserved.leave() }
}

/// Whether the file is gone.
fn remove(path: &Path) -> bool {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "a staged file could not be removed; the sweep will try again");
            false
        }
        _ => true,
    }
}
