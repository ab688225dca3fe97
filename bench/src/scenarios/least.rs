//! How little memory is enough: a real limit, in which the work is still done.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::transfer::{download, upload};
use super::{Scenario, Unit};

const MIB: u64 = 1 << 20;

/// The limits that are tried, in bytes.
pub const LIMITS: [u64; 13] = [
    2 * MIB,
    4 * MIB,
    6 * MIB,
    8 * MIB,
    12 * MIB,
    16 * MIB,
    24 * MIB,
    32 * MIB,
    48 * MIB,
    64 * MIB,
    128 * MIB,
    256 * MIB,
    1024 * MIB,
];

/// How long the work may take; then it has not been done. In a limit that is just too small
/// for it, a server lives, and reads its own program from the disk again and again; the
/// slowest that works takes a quarter of this.
pub const LONGEST: Duration = Duration::from_secs(180);

pub const UPLOADS: Scenario = Scenario {
    name: "8 uploads, least memory",
    about: "the smallest limit in which eight files come in at once, within three minutes",
    unit: Unit::Least,
    reference: "",
    // Who only takes uploads is a kind of one that does both: hashed, not synced.
    can: |routes| routes.upload.is_some() && routes.large.is_some(),
    warm: None,
    run: |server, ground| upload(server, 8, ground.part),
};

pub const DOWNLOADS: Scenario = Scenario {
    name: "32 downloads, least memory",
    about: "the smallest limit in which a file goes out to 32 clients at once, within three minutes",
    unit: Unit::Least,
    reference: "",
    can: |routes| routes.part.is_some(),
    warm: None,
    run: |server, _| download(server, 32, server.routes.part.as_deref()),
};

/// The first limit at which `works` says so, if there is one; it is taken for granted
/// that more memory never hurts.
pub fn least(mut works: impl FnMut(u64) -> Result<bool>) -> Result<Option<u64>> {
    let (mut low, mut high) = (0, LIMITS.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if works(LIMITS[middle])? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(LIMITS.get(low).copied())
}

/// What `work` comes to; after `longest` it is stopped by `end`.
pub fn within<T>(longest: Duration, end: impl FnOnce() + Send, work: impl FnOnce() -> T) -> T {
    let (done, waiting) = mpsc::sync_channel::<()>(0);
    thread::scope(|scope| {
        scope.spawn(move || {
            if waiting.recv_timeout(longest) == Err(RecvTimeoutError::Timeout) {
                end();
            }
        });
        let result = work();
        drop(done);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_the_first_that_works() {
        for enough in LIMITS {
            assert_eq!(least(|limit| Ok(limit >= enough)).unwrap(), Some(enough));
        }
        assert_eq!(least(|_| Ok(false)).unwrap(), None);
    }

    #[test]
    fn work_that_takes_too_long_is_stopped() {
        let (stop, stopped) = mpsc::sync_channel(1);
        let work = || stopped.recv_timeout(Duration::from_secs(60)).is_ok();
        assert!(within(Duration::from_millis(10), || stop.send(()).unwrap(), work));
        // What is done in time is not.
        assert!(within(Duration::from_secs(60), || unreachable!(), || true));
    }
}
