//! One connection: hyper's HTTP/1, our IO, and what ends it.
//!
//! The very same function serves a TCP stream and a duplex in a test.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use futures_util::TryFutureExt;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};

use crate::Peer;
use crate::io::{Deadlines, GuardedIo, Watch};
use crate::registry::Seat;
use crate::socket::{LARGE_BODY, LargeBuffers, Receive};

/// What a connection holds beside its read buffer, in bytes: hyper's buffer for
/// heads that go out (8 KiB), its own state and a head's fields (2 KiB), the task
/// with its timers (3 KiB). 13,904 when idle after an upload, where the test was
/// written; in a slow head less. Held by the memory test `connections`.
const OVERHEAD: usize = 14 * 1024;

/// The heap that a connection without a request may hold, in bytes, for a buffer of
/// `buffer` bytes: twice that, as `bytes` doubles a buffer that has no room for the rest
/// of a head behind what came before it. Measured, at 16 KiB: 46,600 after a small body
/// and a head of 15.9 KiB behind it, whatever the pieces; 27,900 after whole buffers.
/// Held by the hostile test `alone_connections`.
///
/// For handlers that keep the request's head until they have read its body, as all
/// here do. Where the head is dropped before, nothing pins the buffer that it lies in,
/// and it grows with each.
#[must_use]
pub const fn cost(buffer: usize) -> usize {
    2 * buffer + OVERHEAD
}

/// What an upload adds to its connection, in bytes: the frame that is being
/// copied pins one buffer while hyper reads into the next.
#[must_use]
pub const fn busy_cost(buffer: usize) -> usize {
    2 * buffer
}

/// What bounds a connection.
#[derive(Clone, Debug)]
pub struct Settings {
    /// hyper's buffer, each way, in bytes. A larger head gets 431.
    pub buffer: usize,
    /// How long each phase may last.
    pub deadlines: Deadlines,
    /// For those that bring a large body.
    pub large_buffers: Arc<LargeBuffers>,
}

/// What ends connections from outside.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// No new requests; those in flight end.
    pub graceful: CancellationToken,
    /// Now.
    pub forced: CancellationToken,
}

/// Serves one connection to its end.
///
/// **Cancellation**: dropping the future closes the connection, and drops the
/// request in flight with it.
///
/// # Errors
/// What ended the connection other than either side closing it: a head that
/// can't be read, a deadline, a reset.
pub async fn serve<IO, S, B>(
    io: IO,
    peer: SocketAddr,
    service: S,
    settings: Arc<Settings>,
    seat: Seat,
    shutdown: Shutdown,
) -> hyper::Result<()>
where
    IO: AsyncRead + AsyncWrite + Receive + Unpin + 'static,
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    let watch = seat.watch();
    let io = TokioIo::new(GuardedIo::new(
        io,
        watch.clone(),
        settings.deadlines,
        settings.large_buffers.clone(),
    ));
    let service = service_fn(|request: Request<Incoming>| {
        watch.busy();
        let mut request = request.map(|body| match body.is_end_stream() {
            // Nothing is left unread, and nothing is boxed.
            true => Body::empty(),
            false => Body::new(RequestBody { body, come: 0, ended: false, watch: watch.clone() }),
        });
        request.extensions_mut().insert(Peer(peer));
        let ending = Ending(watch.clone());
        // Not an async block: it would have room for the future twice.
        let response = service.clone().oneshot(request);
        response.map_ok(|mut response| {
            // hyper takes what it has of an unread body, and closes where that is not
            // all. It does not say so: the client's next request would be lost.
            let status = response.status();
            let failed = status.is_client_error() || status.is_server_error();
            if ending.0.is_unread() && failed || ending.0.is_widened() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response.map(|body| ResponseBody { body, ending })
        })
    });
    let mut builder = http1::Builder::new();
    builder.max_buf_size(settings.buffer).header_read_timeout(None);
    let mut connection = pin!(builder.serve_connection(io, service));

    let mut closing = false;
    loop {
        tokio::select! {
            biased;
            () = shutdown.forced.cancelled() => return Ok(()),
            () = async { tokio::select! {
                () = shutdown.graceful.cancelled() => {},
                () = seat.close().cancelled() => {},
            } }, if !closing => {
                // hyper would wait for the rest of a first head.
                if seat.close().is_cancelled() && watch.is_in_head() {
                    return Ok(());
                }
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            result = connection.as_mut() => return result,
        }
    }
}

/// A request's body that says whether it was read to its end, and whether it is large.
struct RequestBody {
    body: Incoming,
    // In bytes.
    come: usize,
    // A chunked body does not say so by itself.
    ended: bool,
    watch: Arc<Watch>,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.ended |= matches!(frame, Poll::Ready(None));
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && self.come < LARGE_BODY
        {
            self.come += frame.data_ref().map_or(0, Bytes::len);
            if self.come >= LARGE_BODY {
                self.watch.large();
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.watch.left_unread();
        }
    }
}

pin_project! {
    /// A response's body that says when hyper has done with it.
    struct ResponseBody<B> {
        #[pin]
        body: B,
        ending: Ending,
    }
}

/// Says that the response is complete, when it is dropped.
struct Ending(Arc<Watch>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.responded();
    }
}

impl<B: HttpBody> HttpBody for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
