//! A connection's IO that knows what the connection is doing, and for how long.
//!
//! hyper has one timer for first byte, head and idle alike, and none for a
//! client that does not read. Here each phase has a deadline of its own, and a
//! write that is pending must make progress. A deadline on the response *body*
//! would not do: hyper stops polling the body once its buffer is full.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::socket::{LargeBuffers, Paid, Receive};

/// What the kernel must take in each write window, in bytes: at the default of
/// 30 s that is 137 B/s, a client that has all but stopped.
const LEAST_WRITE: usize = 4 * 1024;

/// What is read and thrown away, at most, after an answer that came before the
/// end of the request's body, in bytes: with unread data in the socket, closing
/// it would reset the connection and take the answer along.
const LINGER_BYTES: usize = 1024 * 1024;

/// How long a client has to read such an answer.
const LINGER: Duration = Duration::from_secs(2);

/// How long a client has to begin its head, and again to end it, before another may take
/// its place. Most heads come at once; one that is lost on the way to a near client comes
/// again after 200 ms (Linux's least time until it sends again). Without it, newcomers took
/// each other's places in a flood of connections, each before its head was read. Who comes
/// while all are within it gets 503. Held by `crates/server/tests/connection.rs`: no head.
pub const GRACE: Duration = Duration::from_millis(250);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has come yet.
    FirstByte,
    /// A head has begun to come.
    Head,
    /// A request is being handled.
    Busy,
    /// The response is complete, but not yet written.
    Flushing,
    /// Between requests; also while hyper's buffer holds the beginning of a
    /// head that came along with the last request, which this IO can't see, or
    /// before its answer was written.
    Idle,
    /// Answered and closing, while the client still sends.
    Lingering,
}

/// What a connection is doing: shared by its IO, its requests and the registry.
#[derive(Debug)]
pub struct Watch(Mutex<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    phase: Phase,
    since: Instant,
    unread: bool,
    body: Body,
}

/// A request's body, as far as the socket's buffer is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Small,
    /// It is worth a large buffer.
    Large,
    /// It has, or had, one: the connection is to end with it.
    Widened,
}

impl Watch {
    /// A connection that has just been accepted.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it reads the clock")]
    pub fn new() -> Self {
        let since = Instant::now();
        Self(Mutex::new(State { phase: Phase::FirstByte, since, unread: false, body: Body::Small }))
    }

    /// The connection is to give its place to another: nothing is waited for.
    pub fn evicted(&self) {
        self.set(|state| state.unread = false);
    }

    /// Since when its place may be another's, if it is by `now`: nothing is asked of the
    /// service, or not within [`GRACE`].
    #[must_use]
    pub fn idle_since(&self, now: Instant) -> Option<Instant> {
        let State { phase, since, .. } = self.state();
        let since = match phase {
            Phase::Idle => since,
            Phase::FirstByte | Phase::Head => since + GRACE,
            Phase::Busy | Phase::Flushing | Phase::Lingering => return None,
        };
        (since <= now).then_some(since)
    }

    /// Whether a head has begun to come, and nothing is left of an answer.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        self.state().phase == Phase::Head
    }

    /// A request is being handled.
    pub fn busy(&self) {
        self.set(|state| {
            (state.phase, state.unread) = (Phase::Busy, false);
            if state.body == Body::Large {
                state.body = Body::Small;
            }
        });
    }

    /// The response is complete; what is left of it is to be written.
    pub fn responded(&self) {
        self.set(|state| state.phase = Phase::Flushing);
    }

    /// The request's body was dropped before its end.
    pub fn left_unread(&self) {
        self.set(|state| state.unread = true);
    }

    /// Whether it was.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        self.state().unread
    }

    /// More of the request's body has come than of most.
    pub fn large(&self) {
        self.set(|state| {
            if state.body == Body::Small {
                state.body = Body::Large;
            }
        });
    }

    /// Whether the connection got a large buffer for it.
    #[must_use]
    pub fn is_widened(&self) -> bool {
        self.state().body == Body::Widened
    }

    fn widened(&self) {
        self.set(|state| state.body = Body::Widened);
    }

    /// True where what comes is worth a large buffer.
    fn read_some(&self) -> bool {
        let State { phase, body, .. } = self.state();
        if matches!(phase, Phase::FirstByte | Phase::Idle) {
            self.set(|state| state.phase = Phase::Head);
        }
        body == Body::Large
    }

    fn flushed(&self) -> bool {
        let flushing = self.state().phase == Phase::Flushing;
        if flushing {
            self.set(|state| state.phase = Phase::Idle);
        }
        flushing
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.phase;
        change(&mut state);
        if state.phase != before {
            state.since = Instant::now();
        }
    }

    fn state(&self) -> State {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long each phase may last.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From accept to the first byte; then the connection is closed.
    pub first_byte: Duration,
    /// From a head's first byte to its last; then it is closed.
    pub head: Duration,
    /// Between requests; then it is closed.
    pub idle: Duration,
    /// The window in which a pending write must move 4 KiB.
    pub write: Duration,
}

impl Deadlines {
    fn of(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::FirstByte => Some(self.first_byte),
            Phase::Head => Some(self.head),
            Phase::Idle => Some(self.idle),
            Phase::Busy | Phase::Flushing | Phase::Lingering => None,
        }
    }
}

/// IO with deadlines.
#[derive(Debug)]
pub struct GuardedIo<IO> {
    inner: IO,
    watch: Arc<Watch>,
    deadlines: Deadlines,
    read_timer: Pin<Box<Sleep>>,
    write_timer: Pin<Box<Sleep>>,
    // What was written since the window began; None while no write is pending.
    window: Option<usize>,
    // What was thrown away since the write side was shut down.
    lingering: Option<usize>,
    large_buffers: Arc<LargeBuffers>,
    // After `inner`, which is closed before it is paid back.
    large_buffer: Option<Paid>,
}

impl<IO: AsyncRead + AsyncWrite + Receive + Unpin> GuardedIo<IO> {
    /// Wraps the IO of a connection that has just been accepted.
    pub fn new(
        inner: IO,
        watch: Arc<Watch>,
        deadlines: Deadlines,
        large_buffers: Arc<LargeBuffers>,
    ) -> Self {
        let now = Instant::now();
        Self {
            inner,
            watch,
            deadlines,
            read_timer: Box::pin(sleep_until(now)),
            write_timer: Box::pin(sleep_until(now)),
            window: None,
            lingering: None,
            large_buffers,
            large_buffer: None,
        }
    }

    /// Gives the kernel a larger buffer for what comes, if there is one.
    fn widen(&mut self) {
        if let Some(paid) = self.large_buffers.take() {
            if let Err(error) = self.inner.set_receive_buffer(self.large_buffers.bytes()) {
                tracing::debug!(%error, "the receive buffer stays as it is");
            }
            self.large_buffer = Some(paid);
            self.watch.widened();
        }
    }

    /// Ready with the phase whose time is up.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Phase> {
        let State { phase, since, .. } = self.watch.state();
        let Some(limit) = self.deadlines.of(phase) else { return Poll::Pending };
        let deadline = since + limit;
        if self.read_timer.deadline() != deadline {
            self.read_timer.as_mut().reset(deadline);
        }
        self.read_timer.as_mut().poll(cx).map(|()| phase)
    }

    /// Lets a write through, or ends it where it has made too little progress.
    fn poll_progress(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            if let (Ok(bytes), Some(window)) = (&written, &mut self.window) {
                *window += bytes;
                if *window >= LEAST_WRITE {
                    self.window = None;
                }
            }
            return Poll::Ready(written);
        }
        if self.window.is_none() {
            self.window = Some(0);
            self.write_timer.as_mut().reset(Instant::now() + self.deadlines.write);
        }
        ready!(self.write_timer.as_mut().poll(cx));
        tracing::debug!("closed: the client takes too little");
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads what the client still sends and throws it away, up to a bound.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [std::mem::MaybeUninit::uninit(); 4096];
        // At the bound the rest stays where it is: the client blocks, and has until
        // the time is up to read its answer.
        while self.lingering.is_none_or(|thrown| thrown < LINGER_BYTES) {
            let mut scratch = ReadBuf::uninit(&mut scratch);
            let read = Pin::new(&mut self.inner).poll_read(cx, &mut scratch);
            let thrown = self.lingering.get_or_insert(0);
            *thrown += scratch.filled().len();
            match read {
                Poll::Pending => return self.read_timer.as_mut().poll(cx),
                Poll::Ready(Ok(())) if !scratch.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
        self.read_timer.as_mut().poll(cx)
    }
}

impl<IO: AsyncRead + AsyncWrite + Receive + Unpin> AsyncRead for GuardedIo<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.inner).poll_read(cx, buf) {
            if buf.filled().len() > before && self.watch.read_some() {
                self.widen();
            }
            return Poll::Ready(read);
        }
        match ready!(self.poll_deadline(cx)) {
            // For hyper the same as a client that left between requests.
            Phase::FirstByte | Phase::Idle => Poll::Ready(Ok(())),
            phase => {
                tracing::debug!(?phase, "closed: its time is up");
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Receive + Unpin> AsyncWrite for GuardedIo<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.poll_progress(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.poll_progress(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        // Nothing is pending: the next stall has a window of its own.
        self.window = None;
        // hyper may not read again before it is woken: the idle deadline must
        // be able to wake it.
        if self.watch.flushed() && self.poll_deadline(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            // In a head: hyper has answered what it could not read.
            let State { phase, unread, .. } = self.watch.state();
            if !unread && phase != Phase::Head {
                return Poll::Ready(Ok(()));
            }
            self.watch.set(|state| state.phase = Phase::Lingering);
            self.lingering = Some(0);
            self.read_timer.as_mut().reset(Instant::now() + LINGER);
        }
        self.poll_linger(cx).map(Ok)
    }
}
