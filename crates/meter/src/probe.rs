//! What happened to the counters between two moments.

use crate::counting::{Snapshot, reset_peak, snapshot};

/// Begins when [`Probe::start`] is called; read as often as needed.
///
/// There is one peak a process: of two probes at once, the later spoils the
/// earlier. Measure one thing at a time.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    start: Snapshot,
}

/// What was used since a probe began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Allocations.
    pub allocs: usize,
    /// Reallocations.
    pub reallocs: usize,
    /// Bytes requested in all.
    pub bytes: usize,
    /// The most that was live at once above the start, in bytes.
    pub peak: usize,
    /// Live now, less what was live at the start, in bytes: below 0 where older
    /// memory was released. Let the process come to rest before: [`crate::quiesce()`].
    pub retained: isize,
}

impl Probe {
    /// Begins a measurement, and a new peak.
    ///
    /// # Panics
    /// Where [`crate::Counting`] is not the global allocator: all figures would
    /// be 0, and every bound would seem to hold.
    #[must_use]
    pub fn start() -> Self {
        assert!(snapshot().allocs > 0, "meter::Counting is not the global allocator");
        reset_peak();
        Self { start: snapshot() }
    }

    /// What was used since the start.
    #[must_use]
    pub fn read(&self) -> Usage {
        let now = snapshot();
        Usage {
            allocs: now.allocs - self.start.allocs,
            reallocs: now.reallocs - self.start.reallocs,
            bytes: now.bytes - self.start.bytes,
            peak: now.peak.saturating_sub(self.start.live),
            retained: now.live.wrapping_sub(self.start.live).cast_signed(),
        }
    }
}
