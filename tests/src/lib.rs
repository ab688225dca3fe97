//! What the test binaries share: a raw HTTP client.

pub mod client;
pub mod message;

pub use client::Client;
pub use message::{Request, Response};
