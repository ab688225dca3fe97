//! The counting allocator counts. One test, since there is one set of counters, and
//! without libtest: its main thread allocates beside a test, which is counted too.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::alloc::System;
use std::hint::black_box;

use meter::{Counting, Probe, Usage, exempt};

#[global_allocator]
static ALLOCATOR: Counting<System> = Counting::new(System);

fn measured<T>(operation: impl FnOnce() -> T) -> (T, Usage) {
    let probe = Probe::start();
    let result = black_box(operation());
    (result, probe.read())
}

fn main() {
    counts_what_is_requested_live_and_at_the_peak();
    println!("counts_what_is_requested_live_and_at_the_peak: ok");
}

fn counts_what_is_requested_live_and_at_the_peak() {
    let (kept, used) = measured(|| {
        drop(black_box(vec![0_u8; 10_000])); // alloc_zeroed
        drop(black_box(Vec::<u8>::with_capacity(3_000)));
        Box::new([7_u8; 500])
    });
    assert_eq!(used, Usage { allocs: 3, reallocs: 0, bytes: 13_500, peak: 10_000, retained: 500 });

    let ((), used) = measured(|| drop(kept));
    assert_eq!(used, Usage { allocs: 0, reallocs: 0, bytes: 0, peak: 0, retained: -500 });

    // Growth counts by its difference, and is no allocation.
    let (grown, used) = measured(|| {
        let mut bytes = Vec::<u8>::with_capacity(1_000);
        bytes.reserve_exact(4_000);
        bytes.shrink_to(100);
        bytes
    });
    assert_eq!(used, Usage { allocs: 1, reallocs: 2, bytes: 4_000, peak: 4_000, retained: 100 });
    drop(grown);

    // Another thread's memory counts too: one that is still alive.
    let (send, receive) = std::sync::mpsc::sync_channel::<()>(0);
    let thread = std::thread::spawn(move || {
        let kept = black_box(vec![1_u8; 1 << 20]);
        receive.recv().ok();
        receive.recv().ok();
        drop(kept);
    });
    send.send(()).unwrap();
    let ((), used) = measured(|| {
        send.send(()).unwrap();
        thread.join().unwrap();
    });
    assert!(used.retained <= -(1 << 20), "{used:?}");

    // But not where it is exempt; nor what is exempt on this one, to its end.
    let ((), used) = measured(|| exempt(|| drop(black_box(vec![0_u8; 10_000]))));
    assert_eq!(used, Usage { allocs: 0, reallocs: 0, bytes: 0, peak: 0, retained: 0 });
    // Where it panics too. Not measured: the panic's own memory is released outside.
    let panics = || exempt(|| std::panic::resume_unwind(Box::new(())));
    std::panic::catch_unwind(panics).unwrap_err();
    let (kept, used) = measured(|| Box::new([7_u8; 500]));
    assert_eq!(used.retained, 500);
    drop(kept);
}
