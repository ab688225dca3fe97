//! Requests: what each route answers, and what every request passes through.
//!
//! - [`mod@stack`]: the middleware, in one ordered function;
//! - [`routes`]: which handler answers what; [`mod@admin`]: the other listener's;
//! - [`upload`], [`record`], [`content`], [`list`], [`export`], [`stats`],
//!   [`probes`]: the handlers; [`page`]: what list and export have in common;
//! - [`admission`], [`rate_limit`], [`compression`]: what bounds a request;
//!   [`permits`]: how many there are, and were at most; [`overload`]: what is shed
//!   while memory is short;
//! - [`publish`]: a record and its content appear together, or not at all;
//! - [`sweep`]: what a crash left behind goes; [`fsck`]: what else disagrees is told;
//! - [`request_id`]: what a request is known by, in the log and to its client;
//! - [`problem`]: every error that a client sees; [`store_errors`],
//!   [`database_errors`]: what went wrong behind it.

use std::sync::Arc;

use storage::{AuditQueue, PgPool, Records};
use streaming::{Chunks, LocalStore, UploadLimits};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub mod accept;
pub mod access;
pub mod admin;
pub mod admission;
pub mod client;
pub mod compression;
pub mod conditional;
pub mod content;
pub mod content_type;
pub mod csv;
pub mod database_errors;
pub mod export;
pub mod fsck;
pub mod held;
pub mod json;
pub mod list;
pub mod multipart;
pub mod name;
pub mod overload;
pub mod page;
pub mod pages;
pub mod permits;
pub mod probe_paths;
pub mod probes;
pub mod problem;
pub mod publish;
pub mod rate_limit;
pub mod record;
pub mod repr_digest;
pub mod request_id;
pub mod routes;
pub mod shown;
pub mod stack;
pub mod stats;
pub mod store_errors;
pub mod sweep;
pub mod upload;

pub use access::Access;
pub use admin::admin;
pub use client::Peer;
pub use overload::Overload;
pub use permits::Permits;
pub use problem::Problem;
pub use rate_limit::RateLimit;
pub use stack::stack;

/// What the handlers share. The server makes it, and every semaphore in it.
#[derive(Debug)]
pub struct App {
    /// Rows.
    pub pool: PgPool,
    /// Records by id, through the cache.
    pub records: Records,
    /// Downloads that are to be counted.
    pub audit: AuditQueue,
    /// What is shed while memory is short.
    pub overload: Overload,
    /// Requests in flight: a permit pays for [`admission::cost`].
    pub requests: Arc<Permits>,
    /// Held by the export that reads ahead: see [`pages::ahead`].
    pub ahead: Arc<Permits>,
    /// Lists and exports in flight: a permit pays for [`pages::cost`].
    pub pages: Arc<Permits>,
    /// Encoders in use: a permit pays for [`compression::cost`].
    pub encoders: Arc<Permits>,
    /// Content.
    pub store: LocalStore,
    /// Uploads in flight: a permit pays for [`streaming::upload::cost`].
    pub uploads: Arc<Permits>,
    /// Downloads in flight: a permit pays for [`streaming::download::cost`].
    pub downloads: Arc<Permits>,
    /// Content that is being removed: a permit is held until it is.
    pub removals: Arc<Permits>,
    /// One permit: readiness is checked once at a time.
    pub readiness: Arc<Semaphore>,
    /// What bounds one upload.
    pub upload_limits: UploadLimits,
    /// What downloads are sent in.
    pub chunks: Chunks,
    /// Cancelled when shutdown begins: readiness fails from then on.
    pub draining: CancellationToken,
    /// Work that a client's leaving must not stop. Awaited at shutdown.
    pub tasks: TaskTracker,
}
