//! Every semaphore of the service, in one place: what may be in flight at once.
//!
//! All are taken by `try_acquire`: what does not fit is refused, nothing queues. Only
//! a connection at the cap waits, a second at most, for the place of one that is told
//! to close.
//! The order is connection, request, encoder; then upload, download or page.

use std::sync::Arc;

use handler::Permits;
use streaming::{Buffers, Chunks};
use tokio::sync::Semaphore;

use crate::Config;
use crate::config::size;
use crate::counts::Counts;
use crate::socket::{AT_FIRST, LargeBuffers};

/// The semaphores; each permit pays for one unit of a term of the plan.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Held by a connection's task.
    pub connections: Arc<Semaphore>,
    /// Held by a request, to the end of its response.
    pub requests: Arc<Permits>,
    /// Held by the socket of a connection that brings an upload.
    pub large_buffers: Arc<LargeBuffers>,
    /// Held by the staged upload.
    pub uploads: Arc<Permits>,
    /// One each; see [`Buffers`].
    pub buffers: Buffers,
    /// Held by the chunks of the download.
    pub downloads: Arc<Permits>,
    /// See [`Chunks`]: each large one holds one of its own.
    pub chunks: Chunks,
    /// Held by the pages of a list or an export.
    pub pages: Arc<Permits>,
    /// Held by content that is being removed, until it is.
    pub removals: Arc<Permits>,
    /// Held by a response that is encoded.
    pub encoders: Arc<Permits>,
}

impl Limits {
    /// As many as these, with buffers as configured.
    #[must_use]
    pub fn new(counts: &Counts, config: &Config) -> Self {
        let permits = |count| Arc::new(Permits::new(count));
        Self {
            connections: Arc::new(Semaphore::new(counts.connections)),
            requests: permits(counts.requests),
            large_buffers: Arc::new(LargeBuffers::new(
                counts.uploads,
                size(config.socket_receive_buffer).max(AT_FIRST),
            )),
            uploads: permits(counts.uploads),
            buffers: Buffers::new(counts.uploads, size(config.upload_chunk)),
            downloads: permits(counts.downloads),
            chunks: Chunks::new(size(config.download_chunk), config.large_chunks),
            pages: permits(counts.pages),
            // As many as there can be requests; more only where clients leave and
            // the disk does not answer.
            removals: permits(counts.requests),
            encoders: permits(counts.encoders),
        }
    }
}
