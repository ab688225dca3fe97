//! Bytes in motion: content goes from a request body to disk, and from disk to
//! a response body, through buffers whose size and number are fixed beforehand.
//!
//! - [`upload`]: a body becomes a staged file, hashed on the way;
//! - [`buffers`]: what uploads are received into, and lend each other;
//! - [`download`]: a file, or a part of one, becomes a body; [`chunks`]: what it is
//!   sent in;
//! - [`paid()`]: bytes that carry what pays for them;
//! - [`store`]: the folder in which both live; publication by rename;
//! - [`quota`]: what it may hold; [`walk`]: what is in it; [`check`]: whether that is
//!   as it should be.
//!
//! This crate knows no other crate of the workspace. What pays for a buffer
//! reaches it as a generic guard `G`, which it only holds: for as long as the
//! buffer lives, in whatever thread. A `tokio::sync::OwnedSemaphorePermit` will
//! do, and so will `()`.

pub mod buffers;
#[cfg(target_os = "linux")]
mod cached;
pub mod check;
pub mod chunks;
pub mod download;
mod paid;
pub mod quota;
pub mod staged;
pub mod store;
pub mod upload;
pub mod verified;
pub mod walk;

pub use buffers::Buffers;
pub use chunks::Chunks;
pub use download::{Content, Download};
pub use paid::paid;
pub use quota::Quota;
pub use staged::StagedFile;
pub use store::LocalStore;
pub use upload::{Digest, Received, UploadError, UploadLimits};

/// The error type that bodies bring along.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
