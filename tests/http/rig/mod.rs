//! What every test stands on: the real service on a free port, with a database
//! and a folder of its own.

pub mod expect;
pub mod routes;
pub mod rows;
pub mod service;
pub mod wire;

pub use expect::problem;
pub use service::{File, Service};
pub use tests::eventually;

/// `count` bytes, each place of which can be told from its neighbours.
pub fn content(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()
    };
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(next).take(count.div_ceil(4)).flatten().collect();
    bytes.truncate(count);
    bytes
}
