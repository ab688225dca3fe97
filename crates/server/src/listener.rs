//! The listener: accepts connections, as many as there are places.

use std::convert::Infallible;
use std::io::{self, Read as _, Write as _};
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{Request, Response};
use http_body::Body as HttpBody;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::connection::{Settings, Shutdown, serve};
use crate::registry::Connections;

/// Connections that the kernel keeps for us until they are accepted. They are
/// accepted at once; this is for the burst between two turns of the loop.
const BACKLOG: i32 = 1024;

/// How long to wait when accepting fails for lack of descriptors or memory: the
/// error comes again at once until one is closed.
const PAUSE: Duration = Duration::from_millis(100);

/// The answer to a connection for which there is no place.
const NO_PLACE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
content-type: application/problem+json\r\ncontent-length: 124\r\nretry-after: 1\r\n\
connection: close\r\n\r\n\
{\"type\":\"urn:problem-type:busy\",\"title\":\"The service is at its limit\",\
\"status\":503,\"detail\":\"too many connections are open\"}";

/// Reads of 4 KiB at most before a refused connection is closed: a head, and the
/// beginning of a body. Nobody is accepted meanwhile.
const REFUSED_READS: usize = 16;

/// What the kernel may hold a socket, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct SocketBuffers {
    /// Received and not read (`SO_RCVBUF`), to begin with: see [`crate::socket`].
    pub receive: usize,
    /// Written and not sent (`TCP_NOTSENT_LOWAT`).
    pub unsent: u32,
}

/// Listens at `address`. Accepted sockets inherit the receive buffer, which
/// must be set before the handshake offers a window.
///
/// # Errors
/// What the system answers: above all, that the address is in use.
pub fn listen(address: SocketAddr, buffers: SocketBuffers) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_recv_buffer_size(buffers.receive)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until `shutdown.graceful`; each connection is a task of `tasks`.
pub async fn accept<S, B>(
    listener: TcpListener,
    buffers: SocketBuffers,
    connections: &Arc<Connections>,
    service: S,
    settings: &Arc<Settings>,
    shutdown: &Shutdown,
    tasks: &TaskTracker,
) where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static,
{
    loop {
        let accepted = tokio::select! {
            () = shutdown.graceful.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting failed");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if let Err(error) = prepare(&stream, buffers) {
            tracing::debug!(%error, "a connection was lost before it began");
            continue;
        }
        let Some(seat) = connections.admit().await else {
            refuse(&stream);
            continue;
        };
        let (service, settings, shutdown) = (service.clone(), settings.clone(), shutdown.clone());
        tasks.spawn(async move {
            if let Err(error) = serve(stream, peer, service, settings, seat, shutdown).await {
                tracing::debug!(%peer, error = cause(&error), "a connection ended early");
            }
        });
    }
}

/// TCP_NODELAY: without it, small responses wait for the client's delayed
/// acknowledgement (40 ms).
fn prepare(stream: &TcpStream, buffers: SocketBuffers) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_notsent_lowat(buffers.unsent)?;
    #[cfg(not(target_os = "linux"))]
    let _ = (SockRef::from(stream), buffers);
    Ok(())
}

/// Says 503 as far as it goes without waiting: what has come of the request is
/// taken, so that closing does not reset the connection and take the answer
/// along. By the socket itself: tokio does not know yet that it can be written.
fn refuse(stream: &TcpStream) {
    tracing::debug!("refused: all places are taken by busy connections, or by new ones");
    let socket = SockRef::from(stream);
    let mut socket: &Socket = &socket;
    let mut scratch = [0; 4096];
    let _ = socket.write(NO_PLACE);
    let _ = socket.shutdown(net::Shutdown::Write);
    for _ in 0..REFUSED_READS {
        if !socket.read(&mut scratch).is_ok_and(|read| read == scratch.len()) {
            break;
        }
    }
}

fn cause(error: &hyper::Error) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn accepted_sockets_have_the_buffers_of_the_plan() {
        use crate::socket::received_cost;

        let buffers = SocketBuffers { receive: 32 * 1024, unsent: 8 * 1024 };
        let listener = listen(([127, 0, 0, 1], 0).into(), buffers).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        prepare(&stream, buffers).unwrap();
        let socket = SockRef::from(&stream);
        assert_eq!(socket.recv_buffer_size().unwrap(), received_cost(buffers.receive));
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), buffers.unsent);
    }

    #[test]
    fn the_refusal_says_its_own_length() {
        let text = std::str::from_utf8(NO_PLACE).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
