//! A global allocator that counts what passes through it.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

// One set of counters a process, whatever thread allocates: a counter a thread
// would miss what spawned tasks and the blocking pool do. Relaxed, because each
// counter is read by itself; a reading beside running threads is a moment's.
static ALLOCS: AtomicUsize = AtomicUsize::new(0);
static REALLOCS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    // Made without an allocation, and without a destructor: an allocator may read it
    // at any time.
    static EXEMPT: Cell<bool> = const { Cell::new(false) };
}

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

/// Runs `work`, and counts nothing of what it allocates and releases: for a client in a
/// thread of its own, beside the server that is measured.
///
/// It is of this thread, and of as long as `work` runs: not of tasks and threads that
/// `work` starts. Memory has no owner that could be asked: what is allocated in here and
/// released elsewhere is taken off all the same, and the other way round it stays. So
/// let both happen on the same side.
pub fn exempt<T>(work: impl FnOnce() -> T) -> T {
    /// Also where `work` panics.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            EXEMPT.set(self.0);
        }
    }
    let _restore = Restore(EXEMPT.replace(true));
    work()
}

fn grow(size: usize) {
    BYTES.fetch_add(size, Relaxed);
    let live = LIVE.fetch_add(size, Relaxed) + size;
    PEAK.fetch_max(live, Relaxed);
}

fn allocated(pointer: *mut u8, size: usize) {
    if !pointer.is_null() && !EXEMPT.get() {
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
        if !EXEMPT.get() {
            LIVE.fetch_sub(layout.size(), Relaxed);
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as in `dealloc`, and the caller keeps the contract on `new_size`.
        let moved = unsafe { self.inner.realloc(pointer, layout, new_size) };
        if !moved.is_null() && !EXEMPT.get() {
            REALLOCS.fetch_add(1, Relaxed);
            match new_size.checked_sub(layout.size()) {
                Some(growth) => grow(growth),
                None => drop(LIVE.fetch_sub(layout.size() - new_size, Relaxed)),
            }
        }
        moved
    }
}
