//! Deterministic content of any size, made block by block: no buffer grows with
//! it, on either side of a test.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// One block, in bytes.
pub const BLOCK: usize = 16 * 1024;

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// Content, one block at a time. Each block begins with its number, so that a
/// block lost, doubled or out of order changes the digest.
pub struct Content {
    block: Box<[u8]>,
}

impl Content {
    pub fn new() -> Self {
        // Bytes that a compressor would not like, the same in every run.
        let mut state: u32 = 0x9e37_79b9;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        Self { block: (0..BLOCK).map(next).collect() }
    }

    /// The block that begins at `offset`, a multiple of [`BLOCK`], of a content
    /// of `size` bytes; empty at its end.
    pub fn block(&mut self, offset: u64, size: u64) -> &[u8] {
        let left = usize::try_from(size - offset).unwrap_or(usize::MAX);
        self.block[..8].copy_from_slice(&offset.to_be_bytes());
        &self.block[..left.min(BLOCK)]
    }

    /// The digest of a content of `size` bytes.
    pub fn digest(&mut self, size: u64) -> Digest {
        let mut hasher = Sha256::new();
        let mut offset = 0;
        while offset < size {
            let block = self.block(offset, size);
            hasher.update(block);
            offset += block.len() as u64;
        }
        hasher.finalize().into()
    }

    /// Writes a content of `size` bytes to a new file.
    pub fn write(&mut self, path: &Path, size: u64) -> io::Result<()> {
        let mut file = File::create_new(path)?;
        let mut offset = 0;
        while offset < size {
            let block = self.block(offset, size);
            file.write_all(block)?;
            offset += block.len() as u64;
        }
        Ok(())
    }
}

/// The digest of the file at `path`.
pub fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; BLOCK];
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            return Ok(hasher.finalize().into());
        }
        hasher.update(&block[..count]);
    }
}
