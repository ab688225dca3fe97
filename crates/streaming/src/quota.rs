//! A quota on disk: bytes that are kept and bytes on their way, together.
//!
//! **What goes wrong**: a look before an upload ("is there room?") says yes to
//! each of many at once. And uploads that run into the bound together fail
//! together, all of them.
//!
//! **The pattern**: an upload reserves bytes as they come, before they are
//! written, and is refused as soon as what it is known to bring can't fit. The
//! reservation rides with the staged file, and ends when that is gone. The one
//! that is refused makes room for the others: they wait for it, and go on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

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

/// In bytes. At any moment `kept + reserved` is at most the limit, unless more
/// was kept already when the count began.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    // Content; staged files that nobody holds.
    kept: u64,
    // Of staged files that are held.
    reserved: u64,
    // What of `reserved` is given up, and free as soon as its file is gone.
    leaving: u64,
}

/// More than is left of the quota, whatever happens to other uploads that were
/// refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{left} of {limit} bytes are left")]
pub struct Exceeded {
    /// The quota, in bytes.
    pub limit: u64,
    /// What of it is free, in bytes.
    pub left: u64,
}

impl Quota {
    /// A quota of `limit` bytes, of which `kept` are taken; that may be more.
    #[must_use]
    pub fn new(limit: u64, kept: u64) -> Self {
        let counts = Mutex::new(Counts { kept, ..Counts::default() });
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
        let Counts { kept, reserved, .. } = *self.counts();
        kept.saturating_add(reserved)
    }

    /// Whether so many bytes would fit now. Takes none of them: what a client
    /// only announces must not keep others out.
    ///
    /// # Errors
    /// [`Exceeded`].
    pub fn fits(&self, bytes: u64) -> Result<(), Exceeded> {
        self.left(&self.counts(), bytes)
    }

    /// A reservation of nothing yet.
    pub(crate) fn reserve(&self) -> Reserved {
        Reserved { quota: self.clone(), bytes: 0, leaving: false }
    }

    /// What was kept is gone.
    pub(crate) fn release(&self, bytes: u64) {
        let mut counts = self.counts();
        counts.kept = counts.kept.saturating_sub(bytes);
        drop(counts);
        self.0.freed.notify_waiters();
    }

    fn left(&self, counts: &Counts, bytes: u64) -> Result<(), Exceeded> {
        let limit = self.0.limit;
        let staying = counts.kept.saturating_add(counts.reserved - counts.leaving);
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
    bytes: u64,
    leaving: bool,
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
        &mut self,
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
    fn try_grow(&mut self, bytes: u64, rest: u64) -> Result<bool, Exceeded> {
        let mut counts = self.quota.counts();
        let fits = self.quota.left(&counts, bytes.saturating_add(rest));
        if fits.is_err() {
            // In one step with the refusal: of two at once, one is told first,
            // and the other sees it.
            Self::mark(&mut self.leaving, self.bytes, &mut counts);
            return fits.map(|()| false);
        }
        let used = counts.kept.saturating_add(counts.reserved);
        let taken = used.saturating_add(bytes) <= self.quota.0.limit;
        if taken {
            counts.reserved += bytes;
            self.bytes += bytes;
        }
        Ok(taken)
    }

    /// Says that the file is about to be removed.
    pub(crate) fn give_up(&mut self) {
        Self::mark(&mut self.leaving, self.bytes, &mut self.quota.counts());
    }

    fn mark(leaving: &mut bool, bytes: u64, counts: &mut Counts) {
        if !std::mem::replace(leaving, true) {
            counts.leaving += bytes;
        }
    }

    /// The file stays: its bytes do.
    pub(crate) fn keep(mut self) {
        let mut counts = self.quota.counts();
        counts.kept = counts.kept.saturating_add(self.bytes);
        Self::give_back(&mut self.bytes, self.leaving, &mut counts);
    }

    fn give_back(bytes: &mut u64, leaving: bool, counts: &mut Counts) {
        let bytes = std::mem::take(bytes);
        counts.reserved -= bytes;
        if leaving {
            counts.leaving -= bytes;
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        Self::give_back(&mut self.bytes, self.leaving, &mut self.quota.counts());
        self.quota.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test]
    async fn what_is_kept_and_what_is_reserved_count_together() {
        let quota = Quota::new(100, 30);
        let (mut one, mut other) = (quota.reserve(), quota.reserve());
        one.grow(40, 0, soon()).await.unwrap();
        other.grow(30, 0, soon()).await.unwrap();
        assert_eq!(quota.used(), 100, "to the byte");
        assert_eq!(quota.fits(1), Err(Exceeded { limit: 100, left: 0 }));
        one.keep();
        assert_eq!(quota.used(), 100, "what is published still counts");
        drop(other);
        assert_eq!(quota.used(), 70);
        quota.release(70);
        quota.release(1);
        assert_eq!(quota.used(), 0, "no more is given back than there was");
    }

    #[tokio::test]
    async fn one_byte_too_many_is_refused_and_so_is_one_that_is_still_to_come() {
        let quota = Quota::new(100, 0);
        let mut one = quota.reserve();
        one.grow(60, 40, soon()).await.unwrap();
        assert_eq!(quota.used(), 60, "what is announced takes nothing");
        for (bytes, rest) in [(41, 0), (1, 40), (u64::MAX, u64::MAX)] {
            let mut other = quota.reserve();
            let refused = other.grow(bytes, rest, soon()).await;
            assert_eq!(refused, Err(Exceeded { limit: 100, left: 40 }));
        }
        assert_eq!(quota.used(), 60, "a refusal takes nothing");
        assert_eq!(Quota::new(10, 20).fits(0), Ok(()), "of a quota that is passed, nothing fits");
        assert!(Quota::new(10, 20).fits(1).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_makes_room_and_the_other_waits_for_it() {
        let quota = Quota::new(100, 0);
        let (mut one, mut other) = (quota.reserve(), quota.reserve());
        one.grow(50, 0, soon()).await.unwrap();
        other.grow(50, 0, soon()).await.unwrap();
        one.grow(1, 0, soon()).await.unwrap_err();
        // Its file is still there: at no moment is there more than the quota.
        assert_eq!(quota.used(), 100);
        {
            let mut growing = std::pin::pin!(other.grow(50, 0, soon()));
            let early = tokio::time::timeout(Duration::from_millis(500), &mut growing).await;
            early.unwrap_err();
            drop(one);
            growing.await.unwrap();
        }
        assert_eq!(quota.used(), 100);
        drop(other);
        assert_eq!(quota.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_given_up_and_does_not_go_is_not_waited_for_without_end() {
        let quota = Quota::new(100, 0);
        let (mut one, mut other) = (quota.reserve(), quota.reserve());
        one.grow(60, 0, soon()).await.unwrap();
        one.give_up();
        one.give_up();
        other.grow(60, 0, soon()).await.unwrap_err();
        drop((one, other));
        assert_eq!(quota.used(), 0);
        assert_eq!(quota.fits(100), Ok(()), "given up once, however often it is said");
    }
}
