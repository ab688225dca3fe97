//! A semaphore that remembers how many of its permits were taken at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// So many permits. They are tokio's own, so that what they pay for holds them as it
/// would those of any semaphore.
#[derive(Debug)]
pub struct Permits {
    semaphore: Arc<Semaphore>,
    count: usize,
    most: AtomicUsize,
}

impl Permits {
    /// `count` of them.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { semaphore: Arc::new(Semaphore::new(count)), count, most: AtomicUsize::new(0) }
    }

    /// Takes one.
    ///
    /// # Errors
    /// All are taken.
    pub fn try_acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        let permit = self.semaphore.clone().try_acquire_owned()?;
        self.most.fetch_max(self.taken(), Ordering::Relaxed);
        Ok(permit)
    }

    /// How many can be taken now.
    #[must_use]
    pub fn available_permits(&self) -> usize {
        self.semaphore.available_permits()
    }

    /// How many are taken now.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.count.saturating_sub(self.available_permits())
    }

    /// How many were taken at most, as seen by whoever took one: it looks just after it
    /// has, when another may be back.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_stays_when_all_are_back() {
        let permits = Arc::new(Permits::new(3));
        assert_eq!((permits.taken(), permits.most()), (0, 0));
        let take = || permits.clone().try_acquire_owned();
        let (one, other) = (take().unwrap(), take().unwrap());
        assert_eq!((permits.taken(), permits.most(), permits.available_permits()), (2, 2, 1));
        drop(one);
        assert_eq!((permits.taken(), permits.most()), (1, 2));
        let more = [take().unwrap(), take().unwrap()];
        take().unwrap_err();
        assert_eq!((permits.taken(), permits.most()), (3, 3));
        drop((more, other));
        assert_eq!((permits.taken(), permits.most(), permits.available_permits()), (0, 3, 3));
        let _one = take().unwrap();
        assert_eq!((permits.taken(), permits.most()), (1, 3));
    }
}
