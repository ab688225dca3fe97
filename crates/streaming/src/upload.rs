//! Upload: a request body becomes a staged file, through one buffer.
//!
//! **What goes wrong**: a `Bytes` extractor holds the whole body, twice over
//! while its buffer grows. A `tokio::fs::File` keeps up to 2 MiB a handle.
//!
//! **The pattern**: frames are copied into one buffer of a fixed size. When it
//! is full, buffer, file and hasher move to the blocking pool together, are
//! hashed and written there, and come back. While they are away the body is not
//! polled: that is the back-pressure.
//!
//! **Cancellation**: dropping the future drops the buffer, its guard and the
//! staged file. If a write is under way, that happens when the write returns:
//! the guard goes where the buffer goes.

use std::io::{self, Write};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::Body;
use http_body_util::BodyExt;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::quota::{Exceeded, FILE_OVERHEAD, Reserved};
use crate::staged::StagedFile;
use crate::{BoxError, LocalStore};

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// What an upload holds beside its buffer, in bytes: the future with its file,
/// hasher and path, and the task of a write under way. Held by the memory test
/// `upload` (unit).
pub const OVERHEAD: usize = 8 * 1024;

/// The heap that one upload in flight may hold, in bytes, for a buffer of
/// `chunk` bytes. Frames of the body belong to the connection, not to this.
#[must_use]
pub const fn cost(chunk: usize) -> usize {
    chunk + OVERHEAD
}

/// What must come in each window of [`UploadLimits::stall`], in bytes: at 30 s that
/// is 137 B/s. A byte now and then would hold a place for ever.
pub const LEAST_PROGRESS: usize = 4 * 1024;

/// What bounds one upload.
#[derive(Clone, Copy, Debug)]
pub struct UploadLimits {
    /// Largest content, in bytes; one more is [`UploadError::TooLarge`].
    pub max_size: u64,
    /// The buffer, in bytes.
    pub chunk: usize,
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
pub struct Received<G: Send + 'static> {
    /// The staged file: pass it to [`LocalStore::publish`], or drop it.
    pub file: StagedFile<G>,
    /// Its size, in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

/// What moves to the blocking pool and back.
struct Writer<G: Send + 'static> {
    buffer: Vec<u8>,
    hasher: Sha256,
    staged: StagedFile<G>,
}

impl<G: Send + 'static> Writer<G> {
    fn create(
        folder: &std::path::Path,
        tasks: TaskTracker,
        chunk: usize,
        reserved: Reserved,
        guard: G,
    ) -> io::Result<Self> {
        let staged = StagedFile::create(folder, tasks, reserved, guard)?;
        let buffer = Vec::with_capacity(chunk);
        let hasher = Sha256::new();
        Ok(Self { buffer, hasher, staged })
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.hasher.update(&self.buffer);
        self.staged.file()?.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
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
    G: Send + 'static,
{
    let UploadLimits { max_size, chunk, stall } = limits;
    let mut reserved = store.quota().reserve();
    // Before the file is made, and before the body is asked for.
    let whole = body.size_hint().lower();
    reserved.grow(FILE_OVERHEAD, whole, Instant::now() + stall).await?;
    let (folder, tasks) = (store.staging().to_owned(), store.tasks().clone());
    let create = move || Writer::create(&folder, tasks, chunk, reserved, guard);
    let mut writer = store.blocking(create).await?;
    let mut size: u64 = 0;
    let mut body = std::pin::pin!(body);
    let mut window = Instant::now() + stall;
    let mut progress = 0;

    loop {
        let frame = timeout_at(window, body.frame());
        let frame = frame.await.map_err(|_| UploadError::Stalled(stall))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| UploadError::Body(error.into()))?;
        let Ok(mut data) = frame.into_data() else { continue }; // trailers

        size += data.len() as u64;
        if size > max_size {
            return Err(UploadError::TooLarge { max_size });
        }
        let rest = body.size_hint().lower();
        writer.staged.grow(data.len() as u64, rest, window).await?;
        progress += data.len();
        while data.has_remaining() {
            let room = chunk - writer.buffer.len();
            let part = data.split_to(room.min(data.len()));
            writer.buffer.extend_from_slice(&part);
            if writer.buffer.len() == chunk {
                writer = store.blocking(move || writer.write_out().map(|()| writer)).await?;
            }
        }
        if progress >= LEAST_PROGRESS {
            // After the write: what the disk takes is not the client's.
            (window, progress) = (Instant::now() + stall, 0);
        }
    }

    store
        .blocking(move || {
            writer.write_out()?;
            writer.staged.file()?.sync_all()?;
            let Writer { hasher, staged: file, .. } = writer;
            let sha256 = hasher.finalize().into();
            Ok(Received { file, size, sha256 })
        })
        .await
        .map_err(UploadError::Store)
}
