//! Where everything is measured: files to send, a folder to receive in, sizes.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use meter::Group;

const MIB: u64 = 1 << 20;

/// A folder on a disk: on a tmpfs files are memory, and some peers slower or faster.
#[derive(Clone)]
pub struct Ground {
    folder: PathBuf,
    /// Of the file that goes alone, in bytes.
    pub large: u64,
    /// Of the files of which several go at once, in bytes.
    pub part: u64,
    /// Records in the table.
    pub rows: u64,
    /// A postgres:// URL, of a database that nobody else uses.
    pub database: String,
    pub ours: Ours,
    /// What servers are put in, where memory is limited.
    pub group: Option<Arc<Group>>,
}

/// Our binaries.
#[derive(Clone)]
pub struct Ours {
    pub server: PathBuf,
    /// Does not sync what it receives.
    pub unsynced: Option<PathBuf>,
    /// Does not hash it either.
    pub bare: Option<PathBuf>,
    /// For all of them: environment variables.
    pub settings: Vec<(String, String)>,
}

/// The names of the files that peers serve.
pub const LARGE: &str = "large.bin";
pub const PART: &str = "part.bin";
pub const SMALL: &str = "small.bin";

impl Ground {
    /// Makes the files that are missing.
    pub fn new(folder: PathBuf, database: String, ours: Ours, quick: bool) -> Result<Self> {
        let (large, part) = if quick { (256 * MIB, 64 * MIB) } else { (1024 * MIB, 256 * MIB) };
        let rows = if quick { 100_000 } else { 1_000_000 };
        let ground = Self { folder, large, part, rows, database, ours, group: None };
        // It knows the database of the last time.
        let _ = fs::remove_dir_all(ground.content());
        for folder in [ground.served(), ground.content()] {
            fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        }
        // What a run that was broken off has received.
        ground.sweep()?;
        fill(&ground.served().join(LARGE), large)?;
        fill(&ground.served().join(PART), part)?;
        fs::write(ground.served().join(SMALL), noise(512))?;
        Ok(ground)
    }

    /// The same, with servers in a group that may use `bytes`.
    pub fn limited(&self, bytes: u64) -> Result<(Self, Arc<Group>)> {
        let group =
            Arc::new(Group::create(bytes).context("no memory control group (root, Linux)")?);
        Ok((Self { group: Some(group.clone()), ..self.clone() }, group))
    }

    /// What peers serve, and receive into.
    pub fn served(&self) -> PathBuf {
        self.folder.join("served")
    }

    /// Ours.
    pub fn content(&self) -> PathBuf {
        self.folder.join("content")
    }

    /// For a peer's own files: configuration, what it keeps for a moment.
    pub fn own(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Removes what was received.
    pub fn sweep(&self) -> Result<()> {
        for entry in fs::read_dir(self.served())? {
            let path = entry?.path();
            let is_ours = [LARGE, PART, SMALL].iter().any(|name| path.ends_with(name));
            if !is_ours && path.is_file() {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Bytes that no file system and no client can make less of.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // xorshift64 (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn fill(path: &Path, length: u64) -> Result<()> {
    if fs::metadata(path).is_ok_and(|data| data.len() == length) {
        return Ok(());
    }
    let block = noise(1 << 20);
    let mut file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    for _ in 0..length / MIB {
        file.write_all(&block)?;
    }
    Ok(file.sync_all()?)
}
