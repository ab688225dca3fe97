//! A quota on disk: bytes that are kept and bytes on their way, together, and for each
//! file what it takes beside them.
//!
//! **What goes wrong**: a look before an upload ("is there room?") says yes to
//! each of many at once. And uploads that run into the bound together fail
//! together, all of them.
//!
//! **The pattern**: an upload reserves bytes as they come, before they are
//! written, and is refused as soon as what it is known to bring can't fit. The
//! reservation rides with the staged file, and ends when that is gone. The one
//! that is refused makes room for the others: they wait for it, and go on.
//!
//! What others do in the folder is not seen as it happens. A walk over the content
//! puts it right ([`Quota::counted`]), to the byte when nothing else moves.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// What a file counts for beside its bytes, in bytes: about the block that its end
/// begins and its inode. Else a byte would be a file's whole price, and an empty one
/// free: small files would fill the disk under a quota that they hardly touch. Held by
/// `tests/http`: quota.
pub const FILE_OVERHEAD: u64 = 4 * 1024;

/// A bound on bytes. Clones share it.
#[derive(Clone, Debug)]
pub struct Quota(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: u64,
    counts: Mutex<Counts>,
    // Some bytes are free again.
    freed: Notify,
}

/// In bytes. At any moment `kept() + reserved` is at most the limit, unless more was
/// there that this process has not put there.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    content: u64,
    // Staged files that were there at the start, or could not be removed.
    left: u64,
    // Staged files of this process.
    reserved: u64,
    // What of `reserved` is given up, and free as soon as its file is gone.
    leaving: u64,
    // Content that is being published or removed at this moment.
    moving: u64,
    // All content that ever began to be, modulo 2^64.
    moved: u64,
}

impl Counts {
    fn begin_move(&mut self, bytes: u64) {
        self.moving = self.moving.saturating_add(bytes);
        self.moved = self.moved.wrapping_add(bytes);
    }

    fn kept(&self) -> u64 {
        self.content.saturating_add(self.left)
    }

    fn used(&self) -> u64 {
        self.kept().saturating_add(self.reserved)
    }
}

/// Where a walk over the content began; see [`Quota::counted`].
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    moving: u64,
    moved: u64,
}

/// What a file of `size` bytes counts for.
#[must_use]
pub const fn charge(size: u64) -> u64 {
    size.saturating_add(FILE_OVERHEAD)
}

/// More than is left of the quota, whatever happens to other uploads that were
/// refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{left} of {limit} bytes are left, and a file takes {FILE_OVERHEAD} beside its own")]
pub struct Exceeded {
    /// The quota, in bytes.
    pub limit: u64,
    /// What of it is free, in bytes.
    pub left: u64,
}

impl Quota {
    /// A quota of `limit` bytes, of which content and what is `left` of staged files
    /// take some, each with its [`charge`]; that may be more.
    #[must_use]
    pub fn new(limit: u64, content: u64, left: u64) -> Self {
        let counts = Mutex::new(Counts { content, left, ..Counts::default() });
        Self(Arc::new(Shared { limit, counts, freed: Notify::new() }))
    }

    /// The bound, in bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// What counts against it now, in bytes: kept, and reserved.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.counts().used()
    }

    /// Whether a file of `size` bytes would fit now. Takes none of them: what a client
    /// only announces must not keep others out.
    ///
    /// # Errors
    /// [`Exceeded`].
    pub fn fits(&self, size: u64) -> Result<(), Exceeded> {
        self.left(&self.counts(), charge(size))
    }

    /// A reservation of nothing yet.
    pub(crate) fn reserve(&self) -> Reserved {
        Reserved { quota: self.clone(), bytes: AtomicU64::new(0), leaving: AtomicBool::new(false) }
    }

    /// A walk over the content begins now, with no name read yet.
    #[must_use]
    pub fn begin(&self) -> Begun {
        let Counts { moving, moved, .. } = *self.counts();
        Begun { moving, moved }
    }

    /// A walk that began then has come to its end, and found content that counts for `bytes`. What
    /// moved meanwhile it may have seen or not: what is counted is put right as far
    /// as that can't explain the difference.
    pub fn counted(&self, begun: Begun, bytes: u64) {
        let mut counts = self.counts();
        let moved = counts.moved.wrapping_sub(begun.moved).wrapping_add(begun.moving);
        let (least, most) = (bytes.saturating_sub(moved), bytes.saturating_add(moved));
        counts.content = counts.content.clamp(least, most);
        drop(counts);
        self.0.freed.notify_waiters();
    }

    /// Removes content that counts for `bytes` by `remove`, and counts it as gone if that worked.
    pub(crate) fn remove<E>(
        &self,
        bytes: u64,
        remove: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        self.counts().begin_move(bytes);
        let removed = remove();
        let mut counts = self.counts();
        counts.moving -= bytes;
        if removed.is_ok() {
            counts.content = counts.content.saturating_sub(bytes);
        } else {
            // It was there all the time: no walk can have missed it.
            counts.moved = counts.moved.wrapping_sub(bytes);
        }
        drop(counts);
        self.0.freed.notify_waiters();
        removed
    }

    /// A staged file is gone that was left.
    pub(crate) fn release_left(&self, bytes: u64) {
        let mut counts = self.counts();
        counts.left = counts.left.saturating_sub(bytes);
        drop(counts);
        self.0.freed.notify_waiters();
    }

    fn left(&self, counts: &Counts, bytes: u64) -> Result<(), Exceeded> {
        let limit = self.0.limit;
        let staying = counts.kept().saturating_add(counts.reserved - counts.leaving);
        let left = limit.saturating_sub(staying);
        if bytes <= left { Ok(()) } else { Err(Exceeded { limit, left }) }
    }

    // Poisoned or not: nothing in between can panic.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a staged file, which count against a quota until this is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    quota: Quota,
    // Read and changed only while the counts are locked.
    bytes: AtomicU64,
    leaving: AtomicBool,
}

impl Reserved {
    /// Reserves `bytes` more, of a file of which at least `rest` are still to
    /// come after them. Where they fit but for what others have given up, it
    /// waits until that is gone, to `deadline` at the longest.
    ///
    /// **Cancellation**: nothing more is reserved.
    ///
    /// # Errors
    /// [`Exceeded`]: they can't fit, or what was given up does not go. This is
    /// given up by then, so that of uploads which can't all fit the others can
    /// go on.
    pub(crate) async fn grow(
        &self,
        bytes: u64,
        rest: u64,
        deadline: Instant,
    ) -> Result<(), Exceeded> {
        let quota = self.quota.clone();
        loop {
            // From before the look, so that nothing that is freed is missed.
            let freed = quota.0.freed.notified();
            if self.try_grow(bytes, rest)? {
                return Ok(());
            }
            if timeout_at(deadline, freed).await.is_err() {
                self.give_up();
                quota.fits(u64::MAX)?;
            }
        }
    }

    /// Whether they are taken; false where they are only once others have gone.
    fn try_grow(&self, bytes: u64, rest: u64) -> Result<bool, Exceeded> {
        let mut counts = self.quota.counts();
        if self.quota.left(&counts, bytes.saturating_add(rest)).is_err() {
            // In one step with the refusal: of two at once, one is told first,
            // and the other sees it.
            self.mark(&mut counts);
            // What it had itself is free again too.
            return self.quota.left(&counts, u64::MAX).map(|()| false);
        }
        let taken = counts.used().saturating_add(bytes) <= self.quota.0.limit;
        if taken {
            counts.reserved += bytes;
            self.bytes.fetch_add(bytes, Relaxed);
        }
        Ok(taken)
    }

    /// Says that the file is about to be removed.
    pub(crate) fn give_up(&self) {
        self.mark(&mut self.quota.counts());
    }

    fn mark(&self, counts: &mut Counts) {
        if !self.leaving.swap(true, Relaxed) {
            counts.leaving += self.bytes.load(Relaxed);
        }
    }

    /// Publishes the file by `publish`; its bytes are content's from then on.
    ///
    /// # Errors
    /// Those of `publish`, with the reservation: what becomes of the file is up to
    /// the caller.
    pub(crate) fn publish<E>(
        self,
        publish: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), (E, Self)> {
        let bytes = self.bytes.load(Relaxed);
        self.quota.counts().begin_move(bytes);
        let published = publish();
        let mut counts = self.quota.counts();
        counts.moving -= bytes;
        if published.is_ok() {
            counts.content = counts.content.saturating_add(bytes);
            self.give_back(&mut counts);
        }
        drop(counts);
        published.map_err(|error| (error, self))
    }

    /// The staged file could not be removed: its bytes stay.
    pub(crate) fn leave(self) {
        let mut counts = self.quota.counts();
        counts.left = counts.left.saturating_add(self.bytes.load(Relaxed));
        self.give_back(&mut counts);
    }

    fn give_back(&self, counts: &mut Counts) {
        let bytes = self.bytes.swap(0, Relaxed);
        counts.reserved -= bytes;
        if self.leaving.load(Relaxed) {
            counts.leaving -= bytes;
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.give_back(&mut self.quota.counts());
        self.quota.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
