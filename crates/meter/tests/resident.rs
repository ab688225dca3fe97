//! What a process holds, seen from outside.
#![cfg(target_os = "linux")]

use std::hint::black_box;

use meter::resident::{reset_peak, resident};

const MIB: u64 = 1 << 20;

#[test]
fn a_peak_is_seen_after_it_has_gone_and_begins_anew() {
    let id = std::process::id();
    let before = resident(id).unwrap();
    let block = black_box(vec![1_u8; 32 << 20]);
    let during = resident(id).unwrap();
    assert!(during.now >= before.now + 31 * MIB, "{before:?} {during:?}");
    assert!(during.anonymous >= before.anonymous + 31 * MIB, "{before:?} {during:?}");
    drop(block);
    let after = resident(id).unwrap();
    assert!(after.now < before.now + 16 * MIB, "{before:?} {after:?}");
    assert!(after.peak >= before.now + 31 * MIB, "{before:?} {after:?}");

    match reset_peak(id) {
        Ok(()) => assert!(resident(id).unwrap().peak < before.now + 16 * MIB),
        Err(error) => eprintln!("not tried: the kernel does not reset peaks here: {error}"),
    }
}

#[test]
fn a_process_that_is_not_there_is_an_error() {
    assert!(resident(u32::MAX).is_err());
    assert!(reset_peak(u32::MAX).is_err());
}
