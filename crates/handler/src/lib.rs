//! Requests: what each route answers, and what every request passes through.
//!
//! - [`mod@stack`]: the middleware, in one ordered function;
//! - [`routes`]: which handler answers what;
//! - [`upload`], [`record`], [`content`], [`probes`]: the handlers;
//! - [`publish`]: a record and its content appear together, or not at all;
//! - [`sweep`]: what a crash left behind goes;
//! - [`problem`]: every error that a client sees, in one place.

use std::sync::Arc;

use storage::PgPool;
use streaming::{LocalStore, UploadLimits};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub mod access;
pub mod conditional;
pub mod content;
pub mod name;
pub mod probes;
pub mod problem;
pub mod publish;
pub mod record;
pub mod repr_digest;
pub mod routes;
pub mod stack;
pub mod sweep;
pub mod upload;

pub use access::Access;
pub use problem::Problem;
pub use stack::stack;

/// What the handlers share. The server makes it, and every semaphore in it.
#[derive(Debug)]
pub struct App {
    /// Rows.
    pub pool: PgPool,
    /// Content.
    pub store: LocalStore,
    /// Uploads in flight: a permit pays for [`streaming::upload::cost`].
    pub uploads: Arc<Semaphore>,
    /// Downloads in flight: a permit pays for [`streaming::download::cost`].
    pub downloads: Arc<Semaphore>,
    /// What bounds one upload.
    pub upload_limits: UploadLimits,
    /// The chunk of a download, in bytes.
    pub download_chunk: usize,
    /// Cancelled when shutdown begins: readiness fails from then on.
    pub draining: CancellationToken,
    /// Work that a client's leaving must not stop. Awaited at shutdown.
    pub tasks: TaskTracker,
}
