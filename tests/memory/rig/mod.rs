//! The rig: what every case stands on.
//!
//! The service's own connection code talks to a client in the same process, on
//! one thread, over a pipe in memory. Pipe and client allocate before a
//! measurement and not during it, so that what is counted is the service's.

pub mod application;
pub mod client;
pub mod content;
pub mod frames;
pub mod listener;
pub mod measure;
pub mod pipe;
pub mod process;
pub mod rows;
pub mod service;

pub use client::Client;
pub use measure::Operation;
pub use service::Service;

/// One MiB, in bytes.
pub const MIB: u64 = 1024 * 1024;

/// Runs a variant to its end, on a runtime with one worker: which of two threads
/// comes first would show in the figures.
pub fn run<T>(variant: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // And one that writes and reads files: of several in flight, all but one
        // wait for it, which is where they hold most, all at the same time.
        .max_blocking_threads(1)
        .build()?
        .block_on(variant)
}
