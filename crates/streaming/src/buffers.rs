//! Buffers that uploads share: each has one of its own, and borrows those of uploads
//! that are not there.
//!
//! **What goes wrong**: what is written goes to the blocking pool, which takes two
//! switches of threads, however little goes along. Small buffers make many such trips;
//! large ones are paid for by each upload that may come, if it ever does.
//!
//! **The pattern**: there are as many small buffers as there may be uploads. Who is
//! alone takes several at once, for as long as they are being filled without a pause,
//! and written. Whoever comes gets one of its own: a lent one is never kept while its
//! borrower waits for a client, so it is back in a moment ([`LINGER`], and a write).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a lent buffer may wait to be filled, before it is written as it is: at
/// 100 MB/s this is a mebibyte, and what comes slower gains less by it. Held by
/// `crates/streaming/tests/store.rs`: lent buffers.
pub const LINGER: Duration = Duration::from_millis(10);

/// How long an upload's own buffer may wait for more bytes, before it is written as it is
/// and its memory freed: a client that has stopped, for its link or on purpose, holds a
/// place and no buffer. Held by `crates/streaming/tests/store.rs`: a pause.
pub const PAUSE: Duration = Duration::from_secs(1);

/// So many buffers of one size. Clones share them.
#[derive(Clone, Debug)]
pub struct Buffers {
    permits: Arc<Semaphore>,
    most: Arc<AtomicUsize>,
    count: usize,
    size: usize,
}

impl Buffers {
    /// `count` buffers of `size` bytes: as many as there may be uploads, or one would
    /// wait for another's client. None is allocated before it is used.
    #[must_use]
    pub fn new(count: usize, size: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(count)), most: Arc::default(), count, size }
    }

    /// Of each, in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// How many are in nobody's hands.
    #[must_use]
    pub fn free(&self) -> usize {
        self.permits.available_permits()
    }

    /// How many are in somebody's.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.count.saturating_sub(self.free())
    }

    /// How many were at most.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// An upload's own. Where it is lent, it waits for it, and is served before who
    /// would borrow.
    ///
    /// # Errors
    /// None: they are never closed.
    pub(crate) async fn own(&self) -> io::Result<Buffer> {
        let permit = self.permits.clone().acquire_owned().await;
        permit.map(|permit| self.buffer(permit)).map_err(io::Error::other)
    }

    /// One more, if there is one.
    pub(crate) fn borrow(&self) -> Option<Buffer> {
        self.permits.clone().try_acquire_owned().ok().map(|permit| self.buffer(permit))
    }

    fn buffer(&self, permit: OwnedSemaphorePermit) -> Buffer {
        self.most.fetch_max(self.taken(), Ordering::Relaxed);
        Buffer { bytes: Vec::new(), size: self.size, paid: Paid(permit) }
    }
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    size: usize,
    paid: Paid,
}

/// Pays for one of them, wherever its bytes are.
#[derive(Debug)]
pub(crate) struct Paid(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl Buffer {
    /// What pays for it, for who has bytes of their own.
    pub fn paid(self) -> Paid {
        self.paid
    }

    /// What is in it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes more it takes.
    pub fn room(&self) -> usize {
        self.size - self.bytes.len()
    }

    /// Puts `bytes`, for which there is room, behind what is in it. The first allocate
    /// all of it.
    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes.reserve_exact(self.room());
        self.bytes.extend_from_slice(bytes);
    }

    /// Empties it, and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Empties it, and frees its memory.
    pub fn release(&mut self) {
        self.bytes = Vec::new();
    }
}
