//! A walk over what is in the store's folders, a batch at a time: they may hold more
//! names than memory should.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, ReadDir, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::LocalStore;
use crate::quota::{Begun, charge};

/// A file in a folder of the store.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// What can be said of it without a database.
    pub standing: Standing,
}

/// Whether somebody may be at work on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Somebody may: it was written to since the walk's age, or can't be looked at.
    Young,
    /// An upload has it locked, of this process or another.
    Held,
    /// Nobody is.
    Left,
}

impl Entry {
    /// The key whose content it is; None for a name that the store does not make.
    #[must_use]
    pub fn key(&self) -> Option<Uuid> {
        let name = self.name.to_str()?;
        // There are other ways to write one, which are no file of ours.
        name.parse().ok().filter(|key: &Uuid| key.to_string() == name)
    }
}

/// See [`LocalStore::walk_contents`] and [`LocalStore::walk_staging`].
#[derive(Debug)]
pub struct Walk {
    store: LocalStore,
    entries: Option<ReadDir>,
    age: Duration,
    // Of content: how the quota stood, and what was found since counts for.
    counting: Option<(Begun, u64)>,
}

impl Walk {
    /// The next files, at most `limit`; none at the end. What comes or goes
    /// meanwhile may be among them, or not.
    ///
    /// # Errors
    /// Where the folder can't be read; the walk is over then.
    pub async fn next_batch(&mut self, limit: usize) -> io::Result<Vec<Entry>> {
        let Some(mut entries) = self.entries.take() else {
            return Ok(Vec::new());
        };
        let (age, are_locked) = (self.age, self.counting.is_none());
        let (batch, size, entries) = self
            .store
            .blocking(move || {
                let (mut batch, mut size) = (Vec::with_capacity(limit), 0_u64);
                while batch.len() < limit {
                    let Some(entry) = entries.next().transpose()? else {
                        return Ok((batch, size, None));
                    };
                    // One that is gone by now is as good as not found.
                    let metadata = entry.metadata().ok();
                    let is_old = metadata.as_ref().is_some_and(|found| older_than(found, age));
                    let standing = match is_old {
                        false => Standing::Young,
                        // Only then: for a moment, looking takes the lock.
                        true if are_locked && is_held(&entry.path()) => Standing::Held,
                        true => Standing::Left,
                    };
                    let file = metadata.filter(Metadata::is_file);
                    size = size.saturating_add(file.map_or(0, |file| charge(file.len())));
                    batch.push(Entry { name: entry.file_name(), standing });
                }
                Ok((batch, size, Some(entries)))
            })
            .await?;
        if let Some((begun, found)) = &mut self.counting {
            *found = found.saturating_add(size);
            if entries.is_none() {
                self.store.quota().counted(*begun, *found);
            }
        }
        self.entries = entries;
        Ok(batch)
    }
}

impl LocalStore {
    /// A walk over content; old is what was last written to at least `age` ago.
    /// Nobody locks content: none of it is [`Standing::Held`]. At its end, it puts
    /// right what the quota counts as content.
    ///
    /// # Errors
    /// Where the folder can't be read.
    pub async fn walk_contents(&self, age: Duration) -> io::Result<Walk> {
        let counting = Some((self.quota().begin(), 0));
        let folder = self.contents().to_owned();
        let entries = self.blocking(move || fs::read_dir(folder)).await?;
        Ok(Walk { store: self.clone(), entries: Some(entries), age, counting })
    }

    /// A walk over staged files. One that an upload holds, in any process, is locked;
    /// `age` is for file systems without locks, and for the moment between making a
    /// file and locking it.
    ///
    /// # Errors
    /// Where the folder can't be read.
    pub async fn walk_staging(&self, age: Duration) -> io::Result<Walk> {
        let folder = self.staging().to_owned();
        let entries = self.blocking(move || fs::read_dir(folder)).await?;
        Ok(Walk { store: self.clone(), entries: Some(entries), age, counting: None })
    }

    /// Removes what a walk over staged files found [`Standing::Left`]: nobody takes
    /// hold of such a file again.
    ///
    /// # Errors
    /// What the file system answers.
    pub async fn remove_staged(&self, left: &Entry) -> io::Result<()> {
        let (path, quota) = (self.staging().join(&left.name), self.quota().clone());
        self.blocking(move || {
            let size = fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
            fs::remove_file(&path)?;
            quota.release_left(charge(size));
            Ok(())
        })
        .await
    }
}

/// Whether somebody has the file locked.
fn is_held(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// By the time of the last write. A clock that stepped back makes files look
/// young, which keeps them: the safe side.
fn older_than(found: &Metadata, age: Duration) -> bool {
    let elapsed = |written| SystemTime::now().duration_since(written).ok();
    found.modified().ok().and_then(elapsed).is_some_and(|elapsed| elapsed >= age)
}
