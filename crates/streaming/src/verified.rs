//! Which content was found to be what was stored, a while ago.
//!
//! **What goes wrong**: a digest of what is sent costs more processor time than sending
//! it, and what many ask for is hashed for each of them, though nobody has touched it.
//!
//! **The pattern**: a file that was read whole and had its digest is not hashed again for
//! [`FRESH`], as long as the file system says that it is the same: its inode, size, and
//! time of change (ctime, which no program can set). What changes without that is a disk
//! that fails, and is found within [`FRESH`] of being read.
//!
//! **The bound**: [`PLACES`], each of which is the last one's that fell on it. Who has lost
//! its place is hashed once more.

use std::fs::Metadata;
use std::hash::BuildHasher as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Digest;

/// How long a finding counts.
pub const FRESH: Duration = Duration::from_secs(3600);

/// Findings at most: 24 KiB, for a thousand files that are asked for over and over. Held
/// by `crates/streaming/tests/verified.rs`.
pub const PLACES: usize = 1024;

/// The heap that the findings hold, in bytes.
#[must_use]
pub const fn cost() -> usize {
    PLACES * size_of::<Place>()
}

/// Findings of a store.
#[derive(Debug)]
pub struct Verified {
    places: Mutex<Box<[Place]>>,
    // With a key of its own: nobody can make two files that fall together.
    hasher: std::hash::RandomState,
}

/// What was found, by its hash: two in 2^64 are taken for one another.
type Place = Option<(u64, Instant)>;

/// A file as it is now, and what its bytes should be.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Claim {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
    sha256: Digest,
}

impl Claim {
    /// That the file with this `metadata` has this `sha256`. What is changed after the
    /// metadata was taken is another file.
    #[must_use]
    pub fn new(metadata: &Metadata, sha256: Digest) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            sha256,
        }
    }
}

impl Default for Verified {
    fn default() -> Self {
        let places = Mutex::new(vec![None; PLACES].into());
        Self { places, hasher: std::hash::RandomState::new() }
    }
}

impl Verified {
    /// Whether this was found at most [`FRESH`] before `now`.
    #[must_use]
    pub fn holds(&self, claim: &Claim, now: Instant) -> bool {
        let (hash, index) = self.place(claim);
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.get(index).copied().flatten();
        place.is_some_and(|(found, at)| found == hash && now.duration_since(at) < FRESH)
    }

    /// It was found `now`.
    pub fn found(&self, claim: &Claim, now: Instant) {
        let (hash, index) = self.place(claim);
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get_mut(index) {
            *place = Some((hash, now));
        }
    }

    fn place(&self, claim: &Claim) -> (u64, usize) {
        let hash = self.hasher.hash_one(claim);
        (hash, usize::try_from(hash % PLACES as u64).unwrap_or_default())
    }
}
