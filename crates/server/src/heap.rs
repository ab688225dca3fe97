//! The live heap, as the allocator counts it. The binary's, as the allocator is.

use tikv_jemalloc_ctl::{epoch, epoch_mib, stats};

/// jemalloc's own count.
#[derive(Clone, Copy)]
pub struct Heap {
    epoch: epoch_mib,
    allocated: stats::allocated_mib,
}

impl Heap {
    /// None where jemalloc was built without its statistics.
    pub fn new() -> Option<Self> {
        Some(Self { epoch: epoch::mib().ok()?, allocated: stats::allocated::mib().ok()? })
    }

    /// What is allocated and not freed, in bytes.
    pub fn live(self) -> Option<u64> {
        // Counts are summed up over arenas when the epoch advances.
        self.epoch.advance().ok()?;
        self.allocated.read().ok().map(|bytes| bytes as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_is_live_until_it_is_freed() {
        const MORE: usize = 32 << 20;
        let heap = Heap::new().unwrap();
        let before = heap.live().unwrap();
        let held = std::hint::black_box(Vec::<u8>::with_capacity(MORE));
        let during = heap.live().unwrap();
        drop(held);
        let after = heap.live().unwrap();
        // Other tests allocate beside it, but nothing of this size.
        let half = MORE as u64 / 2;
        assert!(before > 0 && during > before + half, "{before}, then {during}");
        assert!(after < during - half, "{during}, then {after}");
    }
}
