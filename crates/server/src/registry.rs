//! The connections that are open: how many at most, and which gives its place when
//! one more comes: the longest idle, with what has not brought a head in time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::io::Watch;

/// How long one more connection waits for the place of the longest idle: its
/// task only has to be run once.
const HANDOVER: Duration = Duration::from_secs(1);

/// The open connections; as many entries as permits.
#[derive(Debug)]
pub struct Connections {
    permits: Arc<Semaphore>,
    open: Mutex<HashMap<u64, Arc<Guest>>>,
    most: AtomicUsize,
    next: AtomicU64,
}

#[derive(Debug)]
struct Guest {
    watch: Arc<Watch>,
    close: CancellationToken,
}

/// A connection's place. Dropping it gives the place to the next.
#[derive(Debug)]
pub struct Seat {
    connections: Arc<Connections>,
    number: u64,
    guest: Arc<Guest>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// As many places as `permits`.
    #[must_use]
    pub fn new(permits: Arc<Semaphore>) -> Arc<Self> {
        Arc::new(Self {
            permits,
            open: Mutex::default(),
            most: AtomicUsize::new(0),
            next: AtomicU64::new(0),
        })
    }

    /// A place for one more; when all are taken, that of the longest idle, half heads
    /// with them. None where there is no such: then the caller answers 503.
    ///
    /// **Cancellation**: safe; a place that was handed over is free.
    pub async fn admit(self: &Arc<Self>) -> Option<Seat> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Some(self.seat(permit));
        }
        if !self.close_longest_idle() {
            return None;
        }
        let permit = self.permits.clone().acquire_owned();
        let permit = tokio::time::timeout(HANDOVER, permit).await.ok()?.ok()?;
        Some(self.seat(permit))
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.lock().len()
    }

    /// How many were open at most.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    fn seat(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Seat {
        let guest =
            Arc::new(Guest { watch: Arc::new(Watch::new()), close: CancellationToken::new() });
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut open = self.lock();
        open.insert(number, guest.clone());
        self.most.fetch_max(open.len(), Ordering::Relaxed);
        drop(open);
        Seat { connections: self.clone(), number, guest, _permit: permit }
    }

    fn close_longest_idle(&self) -> bool {
        let (open, now) = (self.lock(), Instant::now());
        let idle = open.values().filter(|guest| !guest.close.is_cancelled());
        let idle = idle.filter_map(|guest| Some((guest.watch.idle_since(now)?, guest)));
        let longest: Option<(Instant, _)> = idle.min_by_key(|(since, _)| *since);
        longest
            .inspect(|(_, guest)| {
                guest.watch.evicted();
                guest.close.cancel();
            })
            .is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Guest>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// What the connection is doing.
    #[must_use]
    pub fn watch(&self) -> &Arc<Watch> {
        &self.guest.watch
    }

    /// Cancelled when the place is needed by another.
    #[must_use]
    pub fn close(&self) -> &CancellationToken {
        &self.guest.close
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.number);
    }
}
