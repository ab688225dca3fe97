//! Bytes that carry what pays for them.

use std::sync::Arc;

use bytes::Bytes;

struct Paid<G> {
    bytes: Vec<u8>,
    _guard: Arc<G>,
}

impl<G> AsRef<[u8]> for Paid<G> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// `bytes` as [`Bytes`] that hold `guard` until the last of their clones and
/// slices is gone, wherever that is.
///
/// A guard in a body, or in a wrapper around it, is free again while the
/// connection still holds the body's last bytes for a client that does not read
/// (measured: 10 of 10 permits free, all bytes held).
#[must_use]
pub fn paid<G: Send + Sync + 'static>(bytes: Vec<u8>, guard: Arc<G>) -> Bytes {
    Bytes::from_owner(Paid { bytes, _guard: guard })
}
