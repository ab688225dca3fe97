//! Check: whether content is what its record says; and where it goes if not.

use std::fs::{self, File};
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::store::create;
use crate::{Digest, LocalStore};

/// How content differs from what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// There is none.
    Missing,
    /// It has this many bytes.
    Size(u64),
    /// Its bytes are others.
    Digest,
    /// It can't be read to its end: often a disk that is failing.
    Unreadable(io::ErrorKind),
}

impl LocalStore {
    /// How the content of `key` differs from `size` bytes that have this `sha256`;
    /// None where it does not. Without a digest, it is not read. Reads `chunk` bytes
    /// at a time.
    ///
    /// # Errors
    /// Where the runtime is shutting down.
    pub async fn compare(
        &self,
        key: Uuid,
        size: u64,
        sha256: Option<Digest>,
        chunk: usize,
    ) -> io::Result<Option<Difference>> {
        let path = self.path(key);
        self.blocking(move || {
            Ok(match File::open(path).and_then(|file| compare(&file, size, sha256, chunk)) {
                Ok(difference) => difference,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Difference::Missing),
                Err(error) => Some(Difference::Unreadable(error.kind())),
            })
        })
        .await
    }

    /// Moves the content of `key` out of the way: it is not served any more, and
    /// kept for whoever wants to look at it, under a name that is never used twice.
    ///
    /// # Errors
    /// What the file system answers.
    pub async fn quarantine(&self, key: Uuid) -> io::Result<()> {
        let (path, folder) = (self.path(key), self.quarantine_folder().to_owned());
        let contents = self.contents().to_owned();
        self.blocking(move || {
            create(&folder)?;
            fs::rename(path, folder.join(format!("{key}.{}", Uuid::now_v7().simple())))?;
            [folder, contents].iter().try_for_each(|folder| File::open(folder)?.sync_all())
        })
        .await
    }
}

fn compare(
    file: &File,
    size: u64,
    sha256: Option<Digest>,
    chunk: usize,
) -> io::Result<Option<Difference>> {
    let found = file.metadata()?.len();
    if found != size {
        return Ok(Some(Difference::Size(found)));
    }
    let Some(sha256) = sha256 else { return Ok(None) };
    let mut hasher = Sha256::new();
    let mut buffer = Vec::with_capacity(chunk);
    loop {
        buffer.clear();
        if file.take(chunk as u64).read_to_end(&mut buffer)? == 0 {
            break;
        }
        hasher.update(&buffer);
    }
    Ok((hasher.finalize()[..] != sha256[..]).then_some(Difference::Digest))
}
