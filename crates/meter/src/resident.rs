//! What a process holds of the machine's memory, as Linux counts it: for a process of
//! which nothing but its id is known, a release binary for instance.
//!
//! It is blunt. A process that has run for a while reuses what its allocator kept:
//! an operation with a heap peak of 8.8 MB raised it by 0 to 20 kB. Measure a cold
//! process, take the least of several, and leave the heap to [`crate::Probe`].

use std::io;
use std::path::PathBuf;

/// Of one process, at one moment, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Pages in memory (`VmRSS`): heap, stacks, and what is touched of the program.
    pub now: u64,
    /// Of these, what no file backs (`RssAnon`): heap and stacks.
    pub anonymous: u64,
    /// The most that `now` has been (`VmHWM`), since the process began or
    /// [`reset_peak`] was called. The kernel counts in batches: it may be some 100
    /// KiB behind.
    pub peak: u64,
}

/// Reads what the process `id` holds.
///
/// # Errors
/// No such process; one of another user; a system without Linux's `/proc`.
pub fn resident(id: u32) -> io::Result<Resident> {
    let text = std::fs::read_to_string(file(id, "status"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        // Not there where the process has ended and was not waited for.
        kib.map(|kib| kib * 1024)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no {name}")))
    };
    Ok(Resident { now: field("VmRSS")?, anonymous: field("RssAnon")?, peak: field("VmHWM")? })
}

/// Begins a new peak of the process `id` at what it holds now.
///
/// # Errors
/// As for [`resident`]; and where the kernel does not let it (containers, some).
pub fn reset_peak(id: u32) -> io::Result<()> {
    std::fs::write(file(id, "clear_refs"), "5")
}

fn file(id: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{id}/{name}"))
}
