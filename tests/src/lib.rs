//! What the test binaries share: a raw HTTP client, a database a process.

pub mod client;
pub mod database;
pub mod message;

pub use client::Client;
pub use message::{Request, Response};
