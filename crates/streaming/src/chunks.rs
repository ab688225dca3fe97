//! What downloads are sent in: a small chunk at a time, and a few large ones for those
//! that take them fast.
//!
//! **What goes wrong**: each chunk is a turn of the connection's task, a read, a write, and
//! memory that is allocated, cleared, and not in the processor's cache. Small chunks are
//! many such turns; large ones are held by each reader that has stopped.
//!
//! **The pattern**: who takes what it gets without a pause, and has more to come, gets a
//! large chunk while there is one, and reads into it over and over. All others go on with
//! small ones: nobody waits for a large one, so that who stops with one in its hands takes
//! nothing from anyone but speed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::Buffers;
use crate::buffers::Paid;

/// A large chunk has so many times the bytes of a small one: 256 KiB, where those have 64.
pub const LARGE: usize = 4;

/// How much of a download goes out in small chunks, in bytes, before a large one is worth
/// it: what is smaller is gone soon, and a client that is slow is known by then. Held by
/// `crates/streaming/tests/chunks.rs`: what is short.
pub const LARGE_AFTER: u64 = 2 << 20;

/// How soon a client asks for the next chunk, if it is a fast one: 64 KiB in this time are
/// 13 MB/s. Turns are not what holds up a slower one. Held by the same: a slow reader.
pub const FAST: Duration = Duration::from_millis(5);

/// The heap that a large chunk may hold, in bytes, where small ones have `small`. Held by
/// the memory test `download` (large).
#[must_use]
pub const fn cost(small: usize) -> usize {
    LARGE * small
}

/// How large chunks are, and how many large ones there may be. Clones share them.
#[derive(Clone, Debug)]
pub struct Chunks {
    small: usize,
    large: Buffers,
}

impl Chunks {
    /// Small ones of `small` bytes, and `count` large ones, of [`LARGE`] times as many. A
    /// download has one of these at the most.
    #[must_use]
    pub fn new(small: usize, count: usize) -> Self {
        Self { small, large: Buffers::new(count, LARGE * small) }
    }

    /// The size of a small one, in bytes.
    #[must_use]
    pub const fn small(&self) -> usize {
        self.small
    }

    /// How many large ones are in somebody's hands.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.large.taken()
    }

    /// How many were at most.
    #[must_use]
    pub fn most(&self) -> usize {
        self.large.most()
    }

    fn large(&self) -> Option<Chunk> {
        let paid = self.large.borrow()?.paid();
        Some(Chunk { bytes: vec![0; self.large.size()], large: Some(paid) })
    }
}

/// No large ones.
impl From<usize> for Chunks {
    fn from(small: usize) -> Self {
        Self::new(small, 0)
    }
}

/// What is read at once.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub bytes: Vec<u8>,
    // Pays for a large one.
    large: Option<Paid>,
}

/// A large chunk that was sent, until it is read into once more. One on its way shares it.
type Spare = Arc<Mutex<Option<Chunk>>>;

/// The chunks of one download.
#[derive(Debug)]
pub(crate) struct Supply {
    chunks: Chunks,
    spare: Spare,
    taken: u64,
    // When the last one went.
    since: Option<Instant>,
}

impl Supply {
    pub fn new(chunks: Chunks) -> Self {
        Self { chunks, spare: Spare::default(), taken: 0, since: None }
    }

    /// The next one, for no more than `remaining` bytes.
    pub fn next(&self, remaining: u64) -> Chunk {
        let is_fast = self.since.is_some_and(|since| since.elapsed() < FAST);
        let is_long = self.taken >= LARGE_AFTER && remaining > self.chunks.small as u64;
        let is_away = Arc::strong_count(&self.spare) > 1;
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Where it is away, a small one goes between: a second large one gains nothing.
        let large = || spare.or_else(|| if is_away { None } else { self.chunks.large() });
        let large = (is_fast && is_long).then(large).flatten();
        let most = usize::try_from(remaining).unwrap_or(usize::MAX);
        if let Some(mut chunk) = large {
            chunk.bytes.truncate(most);
            return chunk;
        }
        Chunk { bytes: vec![0; self.chunks.small.min(most)], large: None }
    }

    /// `chunk` as bytes that hold `guard` to the last ([`crate::paid()`] tells why), and
    /// then are the next to be read into, if large.
    pub fn paid<G: Send + Sync + 'static>(&self, chunk: Chunk, guard: Arc<G>) -> Bytes {
        let Chunk { large: Some(_), .. } = &chunk else { return crate::paid(chunk.bytes, guard) };
        Bytes::from_owner(Returning { chunk, spare: self.spare.clone(), _guard: guard })
    }

    /// So many bytes went to the connection.
    pub fn went(&mut self, bytes: usize) {
        self.taken += bytes as u64;
        self.since = Some(Instant::now());
    }
}

/// A large chunk on its way.
struct Returning<G> {
    chunk: Chunk,
    // After what it keeps, where nobody else does.
    spare: Spare,
    _guard: Arc<G>,
}

impl<G> AsRef<[u8]> for Returning<G> {
    fn as_ref(&self) -> &[u8] {
        &self.chunk.bytes
    }
}

impl<G> Drop for Returning<G> {
    fn drop(&mut self) {
        let chunk = std::mem::take(&mut self.chunk);
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = Some(chunk);
    }
}
