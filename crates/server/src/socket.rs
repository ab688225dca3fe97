//! What the kernel keeps of what has come and is not read: little a connection, and more
//! for as many as there are uploads.
//!
//! A window of 64 KiB for each of a hundred connections is 12 MiB of the kernel's memory,
//! for clients that mostly have nothing to send. So a connection begins with a small one,
//! and gets a large one when more of a body has come than any route but an upload reads.
//! It keeps that to its end, since what a client has been allowed to send can't be taken
//! back: the answer closes the connection (`Connection: close`), so that the next upload
//! finds a large buffer free. Where none is, it goes on with the small one, and slower.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use socket2::SockRef;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A connection's receive buffer to begin with, in bytes (`SO_RCVBUF`): as much as its
/// own buffer takes. Held by the hostile test `alone_sockets`.
pub const AT_FIRST: usize = 16 * 1024;

/// How much of a body comes before its connection gets a large buffer, in bytes: more
/// than all of JSON that is read (4 KiB, `handler::json`).
pub const LARGE_BODY: usize = 64 * 1024;

/// What the kernel may hold in a receive buffer of so many bytes: Linux doubles the
/// setting for its own bookkeeping. Measured, at 64 KiB: 130,000.
#[must_use]
pub const fn received_cost(receive_buffer: usize) -> usize {
    2 * receive_buffer
}

/// What the kernel may hold of responses to a client that does not read, in bytes: what
/// is not sent yet, and the segment that went beyond it. Measured, at 16 KiB, of
/// downloads and of many small responses: 19,000. What a client has not acknowledged
/// comes on top: see ARCHITECTURE.md.
#[must_use]
pub const fn unsent_cost(unsent: usize) -> usize {
    unsent + 16 * 1024
}

/// A stream whose receive buffer can be made larger while data comes.
pub trait Receive {
    /// Makes it so large, in bytes. Linux then opens the window as fast as data comes.
    ///
    /// # Errors
    /// What the system answers.
    fn set_receive_buffer(&self, bytes: usize) -> io::Result<()>;
}

impl Receive for TcpStream {
    fn set_receive_buffer(&self, bytes: usize) -> io::Result<()> {
        SockRef::from(self).set_recv_buffer_size(bytes)
    }
}

/// It has no kernel behind it.
impl Receive for DuplexStream {
    fn set_receive_buffer(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
}

/// The large receive buffers: how large, and how many.
#[derive(Debug)]
pub struct LargeBuffers {
    bytes: usize,
    count: usize,
    permits: Arc<Semaphore>,
    most: AtomicUsize,
}

/// Pays for a large buffer as long as it lives, which is as long as its socket.
#[derive(Debug)]
pub struct Paid(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl LargeBuffers {
    /// So many of so many bytes.
    #[must_use]
    pub fn new(count: usize, bytes: usize) -> Self {
        let permits = Arc::new(Semaphore::new(count));
        Self { bytes, count, permits, most: AtomicUsize::new(0) }
    }

    /// One of them, if one is free.
    #[must_use]
    pub fn take(&self) -> Option<Paid> {
        let permit = self.permits.clone().try_acquire_owned().ok()?;
        self.most.fetch_max(self.taken(), Ordering::Relaxed);
        Some(Paid(permit))
    }

    /// How large each may be, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.count - self.permits.available_permits()
    }

    /// How many were taken at most.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}
