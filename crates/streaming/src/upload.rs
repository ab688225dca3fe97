//! Upload: a request body becomes a staged file, through one buffer.
//!
//! **What goes wrong**: a `Bytes` extractor holds the whole body, twice over
//! while its buffer grows. A `tokio::fs::File` keeps up to 2 MiB a handle.
//!
//! **The pattern**: frames are copied into a buffer of a fixed size; what is full is
//! hashed and written on the blocking pool. Who finds buffers that nobody uses fills
//! those meanwhile, and writes several at once ([`crate::buffers`]). When there is none,
//! the body is not polled until a buffer is back: that is the back-pressure.
//!
//! **Cancellation**: dropping the future drops its buffers, its guard and the
//! staged file. If a write is under way, that happens when the write returns:
//! the guard and the buffers go where the file goes.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::buffers::Buffers;
use crate::quota::{Exceeded, FILE_OVERHEAD};
use crate::staged::StagedFile;
use crate::{BoxError, LocalStore};

mod parts;

use parts::Parts;

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// What an upload holds beside its buffers, in bytes: the future with its file,
/// hasher and path, and the task of a write under way. Held by the memory test
/// `upload` (unit).
pub const OVERHEAD: usize = 8 * 1024;

/// The heap that one upload in flight may hold, in bytes, for a buffer of
/// `chunk` bytes: each brings its own to the [`Buffers`] that are shared. Frames of the
/// body belong to the connection, not to this.
#[must_use]
pub const fn cost(chunk: usize) -> usize {
    chunk + OVERHEAD
}

/// What must come in each window of [`UploadLimits::stall`], in bytes: at 30 s that
/// is 137 B/s. A byte now and then would hold a place for ever.
pub const LEAST_PROGRESS: usize = 4 * 1024;

/// What bounds one upload.
#[derive(Clone, Debug)]
pub struct UploadLimits {
    /// Largest content, in bytes; one more is [`UploadError::TooLarge`].
    pub max_size: u64,
    /// What it is received into, shared with all others. What is full is written.
    pub buffers: Buffers,
    /// How many buffers of uploads that are not there it may borrow; 0: none.
    pub borrow: usize,
    /// In each such window [`LEAST_PROGRESS`] must come, or what is left of the
    /// body; else [`UploadError::Stalled`]. There is no deadline on the whole: an
    /// honest slow client is never cut off.
    pub stall: Duration,
}

/// Why an upload was not received. Nothing of it is left on disk.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The content is larger than allowed.
    #[error("the content is larger than {max_size} bytes")]
    TooLarge {
        /// The limit, in bytes.
        max_size: u64,
    },
    /// The client sent less than [`LEAST_PROGRESS`] in a window.
    #[error("less than {LEAST_PROGRESS} bytes in {} s", .0.as_secs())]
    Stalled(Duration),
    /// The body ended early or broke the protocol: often a client that left.
    #[error("the body could not be read: {0}")]
    Body(#[source] BoxError),
    /// There is, or will be, more than the store's quota leaves.
    #[error("the content does not fit: {0}")]
    QuotaExceeded(#[from] Exceeded),
    /// The staged file could not be written.
    #[error("the content could not be stored: {0}")]
    Store(#[from] io::Error),
}

/// A body that was received whole: staged and durable, but not published.
#[derive(Debug)]
pub struct Received<G: Send + Sync + 'static> {
    /// The staged file: pass it to [`LocalStore::publish`], or drop it.
    pub file: StagedFile<G>,
    /// Its size, in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

/// Receives `body` into a staged file of `store`: at most `limits.max_size`
/// bytes, counted as they come, whatever Content-Length says. Each also counts
/// against the store's quota before it is written, and the file with
/// [`FILE_OVERHEAD`]; a length that can't fit is refused before the body is asked for.
///
/// `guard` pays for [`cost`]; it is held until the staged file is published or
/// removed.
///
/// # Errors
/// [`UploadError`]; by then the staged file is removed, or about to be.
pub async fn receive<B, G>(
    store: &LocalStore,
    body: B,
    limits: UploadLimits,
    guard: G,
) -> Result<Received<G>, UploadError>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
    G: Send + Sync + 'static,
{
    let UploadLimits { max_size, buffers, borrow, stall } = limits;
    let reserved = store.quota().reserve();
    // Before the file is made, and before the body is asked for.
    let whole = body.size_hint().lower();
    reserved.grow(FILE_OVERHEAD, whole, Instant::now() + stall).await?;
    let (folder, tasks) = (store.staging().to_owned(), store.tasks().clone());
    let create = move || StagedFile::create(&folder, tasks, reserved, guard);
    let staged = store.blocking(create).await?;
    let mut parts = Parts::new(store, &buffers, borrow, staged, buffers.own().await?);
    let mut size: u64 = 0;
    let mut body = std::pin::pin!(body);
    let mut window = Instant::now() + stall;
    let mut progress = 0;

    loop {
        let until = parts.until().filter(|until| *until < window);
        let frame = match timeout_at(until.unwrap_or(window), body.frame()).await {
            Ok(Some(frame)) => frame.map_err(|error| UploadError::Body(error.into()))?,
            Ok(None) => break,
            Err(_) if until.is_some() => {
                let pause = Instant::now();
                parts.settle().await?;
                window += pause.elapsed(); // what the disk takes is not the client's
                continue;
            }
            Err(_) => return Err(UploadError::Stalled(stall)),
        };
        let Ok(data) = frame.into_data() else { continue }; // trailers

        size += data.len() as u64;
        if size > max_size {
            return Err(UploadError::TooLarge { max_size });
        }
        let rest = body.size_hint().lower();
        parts.staged.grow(data.len() as u64, rest, window).await?;
        progress += data.len();
        let pause = Instant::now();
        parts.fill(data).await?;
        window += pause.elapsed();
        if progress >= LEAST_PROGRESS {
            (window, progress) = (Instant::now() + stall, 0);
        }
    }

    let (file, sha256) = parts.finish().await?;
    Ok(Received { file, size, sha256 })
}
