//! Connections over pipes, accepted by `axum::serve`: for twins that are about
//! what it does and leaves undone.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::Service;
use super::pipe::End;

/// Connections that wait to be accepted.
const BACKLOG: usize = 64;

/// Connections to `routes`, served by `axum::serve` for as long as the runtime runs.
pub fn served_by_axum(routes: Router) -> Service {
    let (calls, accepted) = mpsc::channel(BACKLOG);
    let serving = axum::serve(Pipes(accepted), routes).into_future();
    drop(TaskTracker::new().spawn(serving));
    Service::new(move |io| {
        let calls = calls.clone();
        async move {
            let (open, closed) = oneshot::channel();
            if calls.send(Held { io, _open: open }).await.is_ok() {
                // An error: `open` was dropped, with the connection.
                let _ = closed.await;
            }
        }
    })
}

struct Pipes(mpsc::Receiver<Held>);

impl Listener for Pipes {
    type Io = Held;
    type Addr = ();

    async fn accept(&mut self) -> (Held, ()) {
        match self.0.recv().await {
            Some(held) => (held, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A pipe's end that tells when it is dropped.
struct Held {
    io: End,
    _open: oneshot::Sender<()>,
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
