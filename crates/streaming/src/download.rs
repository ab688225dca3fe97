//! Download: a file, or a part of one, becomes a response body in chunks.
//!
//! **What goes wrong**: a file read whole is held whole, a client at a time.
//! A guard in a wrapper around the body is free again while the connection
//! still holds the last bytes for a client that does not read.
//!
//! **The pattern**: one chunk is read at a time, when the connection asks: at once
//! where the page cache has it, else on the blocking pool. The guard rides in each
//! chunk ([`crate::paid()`]), so that it is released with the last byte, not with the body.
//!
//! A whole file is hashed as it is read, unless it was a while ago ([`crate::verified`]).
//! If it is not what was stored, its last chunk is never sent: bytes that were altered on
//! disk can't look like a complete answer. Of a part the digest is not known.
//!
//! **Cancellation**: dropping the body closes the file, on the blocking pool; a
//! read under way ends first, with its chunk and guard.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::Digest;
#[cfg(target_os = "linux")]
use crate::cached::{self, Cached};
use crate::chunks::{Chunk, Chunks, Supply};
use crate::verified::{Claim, Verified};

/// What a download holds beside its chunks, in bytes: the body with its file
/// and hasher, the read under way, the owners of the chunks. Held by the memory test
/// `download` (unit).
pub const OVERHEAD: usize = 8 * 1024;

/// The heap that one download in flight may hold, in bytes, for chunks of
/// `chunk` bytes: hyper asks for the next one when less than its own buffer is
/// left of the last, so that two are alive at the worst position.
#[must_use]
pub const fn cost(chunk: usize) -> usize {
    2 * chunk + OVERHEAD
}

/// Content that is open for reading, and the guard that pays for [`cost`].
#[derive(Debug)]
pub struct Content<G: Send + Sync + 'static> {
    file: File,
    metadata: Metadata,
    verified: Arc<Verified>,
    tasks: TaskTracker,
    guard: Arc<G>,
}

impl<G: Send + Sync + 'static> Content<G> {
    pub(crate) fn open(
        path: &Path,
        verified: Arc<Verified>,
        tasks: TaskTracker,
        guard: G,
    ) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok(Self { file, metadata, verified, tasks, guard: Arc::new(guard) })
    }

    /// Its size, in bytes, as the file system has it.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.metadata.len()
    }

    /// The bytes of `range` as a body, in such `chunks`. Where that is the whole, it must
    /// have this `sha256`: it is hashed, or was a while ago.
    #[must_use]
    pub fn into_body(
        self,
        range: Range<u64>,
        chunks: impl Into<Chunks>,
        sha256: Digest,
    ) -> Download<G> {
        let is_whole = range == (0..self.size());
        let Self { file, metadata, verified, tasks, guard } = self;
        let claim = Claim::new(&metadata, sha256);
        let is_known = verified.holds(&claim, Instant::now());
        let check = (is_whole && !is_known)
            .then(|| Box::new(Check { hasher: Sha256::new(), sha256, claim, verified }));
        let tries = cfg!(target_os = "linux");
        let supply = Supply::new(chunks.into());
        let reader = Reader { file, offset: range.start, supply, check, guard, tries };
        let remaining = range.end.saturating_sub(range.start);
        Download { state: State::Ready(reader), remaining, tasks }
    }
}

/// A part of a file as a body. It ends with an error where the file is shorter
/// than it was (`UnexpectedEof`), or has other bytes (`InvalidData`): the connection
/// breaks off, rather than end as if whole.
#[derive(Debug)]
pub struct Download<G: Send + Sync + 'static> {
    state: State<G>,
    remaining: u64,
    tasks: TaskTracker,
}

#[derive(Debug)]
enum State<G: Send + Sync + 'static> {
    Ready(Reader<G>),
    Reading(JoinHandle<io::Result<(Reader<G>, Bytes)>>),
    Done,
}

/// What moves to the blocking pool and back. It is closed there too: the last
/// one to close a file that was deleted meanwhile frees its blocks, which takes
/// long for a large one.
#[derive(Debug)]
struct Reader<G: Send + Sync + 'static> {
    file: File,
    // Of the next chunk.
    offset: u64,
    supply: Supply,
    // Of a whole file.
    check: Option<Box<Check>>,
    guard: Arc<G>,
    // Whether it is worth a try to read without the pool.
    tries: bool,
}

/// What was read so far, and what all of it must be.
#[derive(Debug)]
struct Check {
    hasher: Sha256,
    sha256: Digest,
    // What is known when it is.
    claim: Claim,
    verified: Arc<Verified>,
}

impl<G: Send + Sync + 'static> Reader<G> {
    /// Fills `chunk` if the page cache has all of it.
    #[cfg(target_os = "linux")]
    fn fill_cached(&mut self, chunk: &mut [u8]) -> bool {
        let cached = self.tries.then(|| cached::read(&self.file, chunk, self.offset));
        self.tries &= cached != Some(Cached::Unsupported);
        cached == Some(Cached::All)
    }

    /// Elsewhere nobody knows.
    #[cfg(not(target_os = "linux"))]
    fn fill_cached(&mut self, _: &mut [u8]) -> bool {
        false
    }

    /// Fills `chunk`, however long the disk takes.
    fn fill(&self, chunk: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(chunk, self.offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                io::Error::new(error.kind(), "the content is shorter than it was")
            }
            _ => error,
        })
    }

    /// Hashes and pays for what was read: where it is the last of a whole, it must
    /// have the digest.
    fn checked(&mut self, chunk: Chunk, remaining: u64) -> io::Result<Bytes> {
        let bytes = &chunk.bytes;
        self.offset += bytes.len() as u64;
        if let Some(check) = &mut self.check {
            check.hasher.update(bytes);
            let is_last = remaining == bytes.len() as u64;
            if is_last {
                if check.hasher.finalize_reset()[..] != check.sha256[..] {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the content is not what was stored",
                    ));
                }
                check.verified.found(&check.claim, Instant::now());
            }
        }
        Ok(self.supply.paid(chunk, self.guard.clone()))
    }
}

impl<G: Send + Sync + 'static> Download<G> {
    fn sent(&mut self, mut reader: Reader<G>, bytes: Bytes) -> Frame<Bytes> {
        self.remaining -= bytes.len() as u64;
        reader.supply.went(bytes.len());
        // To the end: it is closed when this is dropped.
        self.state = State::Ready(reader);
        Frame::data(bytes)
    }

    fn close(&self, reader: Reader<G>) {
        match Handle::try_current() {
            Ok(runtime) => drop(self.tasks.spawn_blocking_on(|| drop(reader), &runtime)),
            Err(_) => drop(reader),
        }
    }
}

impl<G: Send + Sync + 'static> Drop for Download<G> {
    fn drop(&mut self) {
        // A read under way closes the file when it is done.
        if let State::Ready(reader) = std::mem::replace(&mut self.state, State::Done) {
            self.close(reader);
        }
    }
}

impl<G: Send + Sync + 'static> Body for Download<G> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        loop {
            match std::mem::replace(&mut this.state, State::Done) {
                State::Ready(mut reader) if this.remaining > 0 => {
                    let remaining = this.remaining;
                    let mut chunk = reader.supply.next(remaining);
                    if reader.fill_cached(&mut chunk.bytes) {
                        match reader.checked(chunk, remaining) {
                            Ok(bytes) => return Poll::Ready(Some(Ok(this.sent(reader, bytes)))),
                            Err(error) => {
                                this.close(reader);
                                return Poll::Ready(Some(Err(error)));
                            }
                        }
                    }
                    this.state = State::Reading(this.tasks.spawn_blocking(move || {
                        reader.fill(&mut chunk.bytes)?;
                        let bytes = reader.checked(chunk, remaining)?;
                        Ok((reader, bytes))
                    }));
                }
                State::Reading(mut read) => match Pin::new(&mut read).poll(cx) {
                    Poll::Pending => {
                        this.state = State::Reading(read);
                        return Poll::Pending;
                    }
                    Poll::Ready(read) => {
                        let (reader, bytes) = read.map_err(io::Error::other)??;
                        return Poll::Ready(Some(Ok(this.sent(reader, bytes))));
                    }
                },
                ended => {
                    this.state = ended;
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
