//! A pair of connected streams in memory that allocate when they are made and
//! never again: they stand for the kernel's socket buffers, which no heap
//! figure has. `tokio::io::duplex` grows its buffers while bytes pass, which
//! would be charged to whoever is measured.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What fits between the two ends, each way, in bytes: a socket's usual order.
const CAPACITY: usize = 64 * 1024;

/// Two ends: what is written to one is read from the other.
pub fn pipe() -> (End, End) {
    let [there, back] = [(), ()].map(|()| Arc::new(Mutex::new(Ring::new())));
    let near = End { incoming: back.clone(), outgoing: there.clone() };
    (near, End { incoming: there, outgoing: back })
}

/// One end. Dropping it closes both directions.
pub struct End {
    incoming: Arc<Mutex<Ring>>,
    outgoing: Arc<Mutex<Ring>>,
}

impl End {
    /// Waits until there is something to read, and leaves it there.
    pub async fn readable(&self) {
        poll_fn(|cx| {
            let mut ring = lock(&self.incoming);
            if ring.len > 0 || ring.closed {
                return Poll::Ready(());
            }
            ring.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

struct Ring {
    bytes: Box<[u8]>,
    start: usize,
    len: usize,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Ring {
    fn new() -> Self {
        let bytes = vec![0; CAPACITY].into_boxed_slice();
        Self { bytes, start: 0, len: 0, closed: false, reader: None, writer: None }
    }

    fn put(&mut self, mut data: &[u8]) -> usize {
        let before = self.len;
        while self.len < CAPACITY && !data.is_empty() {
            let begin = (self.start + self.len) % CAPACITY;
            let count = (CAPACITY - self.len).min(CAPACITY - begin).min(data.len());
            self.bytes[begin..begin + count].copy_from_slice(&data[..count]);
            self.len += count;
            data = &data[count..];
        }
        self.len - before
    }

    fn take(&mut self, buf: &mut ReadBuf<'_>) {
        while self.len > 0 && buf.remaining() > 0 {
            let count = self.len.min(CAPACITY - self.start).min(buf.remaining());
            buf.put_slice(&self.bytes[self.start..self.start + count]);
            self.start = (self.start + count) % CAPACITY;
            self.len -= count;
        }
    }

    fn close(&mut self) {
        self.closed = true;
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ring = lock(&self.incoming);
        if ring.len == 0 && !ring.closed {
            ring.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        ring.take(buf);
        if let Some(writer) = ring.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut ring = lock(&self.outgoing);
        if ring.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count: usize = slices.iter().map(|slice| ring.put(slice)).sum();
        if count == 0 && slices.iter().any(|slice| !slice.is_empty()) {
            ring.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(reader) = ring.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(count))
    }

    // As a TCP stream does: without it hyper copies each chunk into a buffer of
    // its own, and another service is measured than the one that runs.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.outgoing).close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        lock(&self.outgoing).close();
        lock(&self.incoming).close();
    }
}
