//! How little memory is enough: a real limit, in which the work is still done.

use anyhow::{Context, Result};

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

pub const UPLOADS: Scenario = Scenario {
    name: "8 uploads, least memory",
    about: "the smallest limit in which eight files come in at once, within three minutes",
    unit: Unit::Least,
    reference: "",
    can: |routes| routes.upload.is_some(),
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
pub fn least(mut works: impl FnMut(u64) -> Result<bool>) -> Result<u64> {
    let (mut low, mut high) = (0, LIMITS.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if works(LIMITS[middle])? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    LIMITS.get(low).copied().context("no limit is large enough")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_the_first_that_works() {
        for enough in LIMITS {
            assert_eq!(least(|limit| Ok(limit >= enough)).unwrap(), enough);
        }
        assert!(least(|_| Ok(false)).is_err());
    }
}
