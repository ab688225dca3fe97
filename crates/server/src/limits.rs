//! Every semaphore of the service, in one place: what may be in flight at once.
//!
//! All are taken by `try_acquire`: what does not fit is refused, nothing queues. Only
//! a connection at the cap waits, a second at most, for the place of one that is told
//! to close.
//! The order is connection, request, encoder; then upload, download or page.

use std::sync::Arc;

use streaming::Buffers;
use tokio::sync::Semaphore;

use crate::Config;
use crate::config::size;

/// The semaphores; each permit pays for one unit of a term of the plan.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Held by a connection's task.
    pub connections: Arc<Semaphore>,
    /// Held by a request, to the end of its response.
    pub requests: Arc<Semaphore>,
    /// Held by the staged upload.
    pub uploads: Arc<Semaphore>,
    /// One each; see [`Buffers`].
    pub buffers: Buffers,
    /// Held by the chunks of the download.
    pub downloads: Arc<Semaphore>,
    /// Held by the pages of a list or an export.
    pub pages: Arc<Semaphore>,
    /// Held by content that is being removed, until it is.
    pub removals: Arc<Semaphore>,
    /// Held by a response that is encoded.
    pub encoders: Arc<Semaphore>,
}

impl Limits {
    /// As configured.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            connections: semaphore(config.max_connections),
            requests: semaphore(config.max_requests),
            uploads: semaphore(config.max_uploads),
            buffers: Buffers::new(config.max_uploads, size(config.upload_chunk)),
            downloads: semaphore(config.max_downloads),
            pages: semaphore(config.max_pages),
            // As many as there can be requests; more only where clients leave and
            // the disk does not answer.
            removals: semaphore(config.max_requests),
            encoders: semaphore(config.max_encoders),
        }
    }
}
