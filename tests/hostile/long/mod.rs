//! Long runs, not part of every test: `cargo xtask test -- -p tests --test hostile --
//! --ignored` runs them.
//!
//! They print tables. What they assert is in bytes and counts: how fast a machine is
//! says nothing about a service.

mod large;
mod mixed;

pub use large::ten_gib;
pub use mixed::a_million_requests;

/// One client asks for more than any limit on requests allows: that is not the subject.
const UNLIMITED: [&str; 2] = ["--rate-limit-period=1us", "--rate-limit-burst=1000000"];
