//! The service, put together: what `main` runs, and what the tests run.
//!
//! - [`config`]: every setting, and its flag; [`secrets`]: those from files;
//! - [`counts`]: how many of each; [`plan`]: what they add up to, [`show_plan`]: printed;
//! - [`limits`]: every semaphore; [`descriptors`]: the system's;
//! - [`listener`]: accepts; [`connection`]: serves one; [`io`]: its deadlines;
//!   [`socket`]: the kernel's share of it;
//! - [`telemetry`]: what is logged; [`log_line`]: a line of it;
//! - [`gauge`]: how near memory is to the limit, sampled; [`metrics`]: that, as text;
//! - [`admin`]: the other listener, for those who run it; [`memory`]: what is in use;
//! - [`application`]: build and run; shutdown in order;
//! - [`fsck`]: records and content compared;
//! - [`health`]: whether it answers, for a container's health check.

pub mod admin;
pub mod application;
pub mod config;
pub mod connection;
pub mod counts;
pub mod descriptors;
pub mod fsck;
pub mod gauge;
pub mod health;
pub mod io;
pub mod limits;
pub mod listener;
pub mod log_line;
pub mod memory;
pub mod metrics;
pub mod plan;
pub mod registry;
pub mod secrets;
pub mod show_plan;
pub mod socket;
pub mod telemetry;

pub use application::{Application, Outcome};
pub use config::Config;
pub use connection::serve;
pub use handler::Peer;

/// jemalloc's configuration, read by it at start, of a binary that has it under the name
/// that jemalloc looks for. Freed memory goes back to the system within a second, by a
/// thread of jemalloc's own; the arenas do not multiply with the cores.
pub const MALLOC_CONF: &[u8; 70] =
    b"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0,narenas:2\0";
