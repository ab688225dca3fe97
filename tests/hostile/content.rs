//! Content that costs neither side memory: one block, over and over, with the
//! number of its repetition written over its first bytes, so that no chunk can
//! be lost, doubled or swapped unnoticed.

use sha2::{Digest as _, Sha256};

/// In bytes.
pub const BLOCK: usize = 64 * 1024;

/// The block at `index`; `buffer` holds any other.
pub fn number(buffer: &mut [u8], index: u64) {
    buffer[..8].copy_from_slice(&index.to_le_bytes());
}

/// A block, its number not yet written.
pub fn block() -> Vec<u8> {
    // A linear congruential generator: nothing compresses or repeats in it.
    let mut state: u32 = 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..BLOCK).map(|_| next()).collect()
}

/// SHA-256 of `blocks` blocks, in hex.
pub fn digest(blocks: u64) -> String {
    let (mut buffer, mut hasher) = (block(), Sha256::new());
    for index in 0..blocks {
        number(&mut buffer, index);
        hasher.update(&buffer);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
