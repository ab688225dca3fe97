//! Reading what is in the page cache, without a trip to the blocking pool.
//!
//! **What goes wrong**: a file can't be polled, so each chunk is read on the blocking
//! pool: two switches of threads a chunk, which cost more than the copy itself. Read
//! on the task, a disk would hold up all that its worker serves.
//!
//! **The pattern**: `preadv2` with `RWF_NOWAIT` (Linux 4.14) answers at once where the
//! bytes are in memory, and says so where they are not: then it is the pool's.

use std::fs::File;
use std::io::IoSliceMut;

use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cached {
    /// The buffer is full.
    All,
    /// Some of it, or nothing, is in memory: the disk has to be asked.
    NotAll,
    /// This file system does not know (tmpfs, network, an old kernel): no use in
    /// trying again.
    Unsupported,
}

/// Fills `buffer` from `offset` on, if that takes no disk.
pub(crate) fn read(file: &File, buffer: &mut [u8], offset: u64) -> Cached {
    let len = buffer.len();
    let read = preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT);
    match read {
        Ok(read) if read == len => Cached::All,
        // What is wrong with the file, the pool finds out, and tells.
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Cached::NotAll,
        Err(_) => Cached::Unsupported,
    }
}
