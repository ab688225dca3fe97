//! A global allocator that counts what passes through it.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

// One set of counters a process, whatever thread allocates: a counter a thread
// would miss what spawned tasks and the blocking pool do. Relaxed, because each
// counter is read by itself; a reading beside running threads is a moment's.
static ALLOCS: AtomicUsize = AtomicUsize::new(0);
static REALLOCS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Wraps an allocator, and counts. Made the `#[global_allocator]` of a test
/// binary, it costs about 25 ns an allocation and release; it is not meant for
/// the product.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting<A> {
    inner: A,
}

impl<A> Counting<A> {
    /// Counts what passes through to `inner`.
    pub const fn new(inner: A) -> Self {
        Self { inner }
    }
}

/// All counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Allocations so far. A reallocation is not one.
    pub allocs: usize,
    /// Reallocations so far: blocks that were asked to grow or shrink.
    pub reallocs: usize,
    /// Bytes requested so far: sizes of allocations, growth of reallocations.
    pub bytes: usize,
    /// Bytes requested and not released.
    pub live: usize,
    /// The most that `live` has been since the last [`reset_peak`], in bytes. A
    /// reallocation counts by its difference: where the allocator has to move
    /// the block, old and new exist at once for a moment, which is not seen.
    pub peak: usize,
}

/// Reads the counters. All are 0 where [`Counting`] is not the global allocator.
#[must_use]
pub fn snapshot() -> Snapshot {
    Snapshot {
        allocs: ALLOCS.load(Relaxed),
        reallocs: REALLOCS.load(Relaxed),
        bytes: BYTES.load(Relaxed),
        live: LIVE.load(Relaxed),
        peak: PEAK.load(Relaxed),
    }
}

/// Begins a new peak at what is live now.
pub fn reset_peak() {
    PEAK.store(LIVE.load(Relaxed), Relaxed);
}

fn grow(size: usize) {
    BYTES.fetch_add(size, Relaxed);
    let live = LIVE.fetch_add(size, Relaxed) + size;
    PEAK.fetch_max(live, Relaxed);
}

fn allocated(pointer: *mut u8, size: usize) {
    if !pointer.is_null() {
        ALLOCS.fetch_add(1, Relaxed);
        grow(size);
    }
}

#[expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait: there is no other way to count")]
// SAFETY: every call goes to `inner` with the arguments as they came, and its
// answer is returned as it is; the counters allocate nothing and cannot unwind.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`, which is inner's.
        let pointer = unsafe { self.inner.alloc(layout) };
        allocated(pointer, layout.size());
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        let pointer = unsafe { self.inner.alloc_zeroed(layout) };
        allocated(pointer, layout.size());
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from this allocator, so from `inner`, with the
        // same layout.
        unsafe { self.inner.dealloc(pointer, layout) };
        LIVE.fetch_sub(layout.size(), Relaxed);
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as in `dealloc`, and the caller keeps the contract on `new_size`.
        let moved = unsafe { self.inner.realloc(pointer, layout, new_size) };
        if !moved.is_null() {
            REALLOCS.fetch_add(1, Relaxed);
            match new_size.checked_sub(layout.size()) {
                Some(growth) => grow(growth),
                None => drop(LIVE.fetch_sub(layout.size() - new_size, Relaxed)),
            }
        }
        moved
    }
}
