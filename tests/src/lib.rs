//! What the test binaries share: a raw HTTP client, a database of their own, the
//! server as a process.

pub mod client;
pub mod database;
pub mod message;
pub mod postgres;
pub mod rows;
pub mod target;
pub mod wait;

pub use client::Client;
pub use message::{Request, Response};
pub use postgres::Postgres;
pub use target::{Target, server_binary};
pub use wait::eventually;
