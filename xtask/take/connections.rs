//! Connections: what an idle one holds, whatever has passed through it.
//!
//! **The twin**: hyper as `axum::serve` sets it up: its own buffer, which grows to
//! 400 KiB and stays.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use meter::{Report, Sample};
use pattern::connection::{Settings, Shutdown, cost, serve};
use pattern::io::Deadlines;
use pattern::registry::Connections;
use pattern::socket::{LARGE_BODY, LargeBuffers, Receive};
use tokio::sync::Semaphore;
use tower::service_fn;

use super::Case;
use crate::rig::measure::{self, REPETITIONS, WARM_UPS};
use crate::rig::pipe::End;
use crate::rig::{self, Service};

pub const CASE: Case = Case {
    name: "connections",
    about: "an idle connection: its buffer has a size, whatever has passed through",
    pattern: || rig::run(pattern()),
    twin: || rig::run(twin()),
};

const DEADLINES: Deadlines = Deadlines {
    first_byte: Duration::from_secs(60),
    head: Duration::from_secs(60),
    idle: Duration::from_secs(60),
    write: Duration::from_secs(60),
};

async fn pattern() -> Result<Report> {
    let mut samples = Vec::new();
    for buffer in [8 * 1024, 16 * 1024, 64 * 1024] {
        let connections = Connections::new(Arc::new(Semaphore::new(64)));
        let large_buffers = Arc::new(LargeBuffers::new(1, 64 * 1024));
        let settings = Arc::new(Settings { buffer, deadlines: DEADLINES, large_buffers });
        let service = Service::new(move |io| {
            let (connections, settings) = (connections.clone(), settings.clone());
            async move {
                let Some(seat) = connections.admit().await else { return };
                let peer = SocketAddr::from(([127, 0, 0, 1], 40_000));
                let shutdown = Shutdown::default();
                let _ = serve(io, peer, service_fn(answer), settings, seat, shutdown).await;
            }
        });
        samples.push(idle(&service, buffer).await?);
    }
    Ok(Report { samples })
}

async fn twin() -> Result<Report> {
    let service = Service::new(|io| async move {
        let service =
            hyper::service::service_fn(|request: Request<_>| answer(request.map(Body::new)));
        let _ = http1::Builder::new().serve_connection(TokioIo::new(io), service).await;
    });
    Ok(Report { samples: vec![idle(&service, 16 * 1024).await?] })
}

/// Reads the request's body into a buffer that is written now and then, as an upload
/// does.
async fn answer(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    // The head is kept meanwhile: see connection::cost.
    let (_head, mut body) = request.into_parts();
    let mut buffer = Vec::with_capacity(64 * 1024);
    while let Some(Ok(frame)) = body.frame().await {
        let mut data = frame.into_data().unwrap_or_default();
        while !data.is_empty() {
            let part = data.split_to(data.len().min(buffer.capacity() - buffer.len()));
            buffer.extend_from_slice(&part);
            if buffer.len() == buffer.capacity() {
                buffer.clear();
                let _ = tokio::task::spawn_blocking(|| ()).await;
            }
        }
    }
    Ok(Response::new(Body::from("ok")))
}

/// It has no kernel behind it.
impl Receive for End {
    fn set_receive_buffer(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
}

/// How often each uploads.
const UPLOADS: usize = 3;

/// What a connection holds that waits for its next request after uploads, as a share of
/// what the formula says.
async fn idle(service: &Service, buffer: usize) -> Result<Sample> {
    // Such a one is not the connection's last.
    let sizes = [LARGE_BODY as u64 - 1; WARM_UPS + REPETITIONS];
    let held = measure::held(service, sizes, |size| {
        let call = service.call();
        Box::pin(async move {
            let mut client = call.begin();
            let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n");
            for _ in 0..UPLOADS {
                client.send(head.as_bytes()).await?;
                client.send_content(size, size).await?;
                let length = client.head("200").await?;
                client.whole_body(length).await?;
            }
            Ok(client)
        })
    });
    let held = held.await?.split_off(WARM_UPS);
    let metric = format!("unit_{}k", buffer / 1024);
    Ok(Sample::new("connection", held).share_of(&metric, cost(buffer)))
}
