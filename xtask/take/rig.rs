//! The rig: what a case stands on.
//!
//! Pipe and client allocate before a measurement and not during it, so that what is
//! counted is the pattern's.
#![allow(dead_code, unused_imports, reason = "a case takes of it what it needs")]

pub mod client;
pub mod content;
pub mod measure;
pub mod pipe;
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
        .max_blocking_threads(1)
        .build()?
        .block_on(variant)
}
