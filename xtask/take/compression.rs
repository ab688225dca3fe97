//! Compression: as many encoders as there are permits, however many are asked for.
//!
//! **The twin**: tower-http's `CompressionLayer::new()`.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use anyhow::{Result, ensure};
use axum::body::{Body, Bytes};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use http_body::{Body as _, Frame};
use meter::{Probe, Report, Sample};
use pattern::compression::{self, PermitLayer, cost};
use pattern::overload::Overload;
use pattern::permits::Permits;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_http::compression::CompressionLayer;
use uuid::Uuid;

use super::Case;
use crate::rig::http1::serving;
use crate::rig::measure::REPETITIONS;
use crate::rig::{self, Service};

pub const CASE: Case = Case {
    name: "compression",
    about: "encoders: as many as permits, however many are asked for",
    pattern: || rig::run(pattern()),
    twin: || rig::run(twin()),
};

/// Responses at once, and encoders.
const ASKED: usize = 16;
const ENCODERS: usize = 4;

async fn pattern() -> Result<Report> {
    let service = ServiceBuilder::new()
        .map_request(compression::read_accepted::<Body>)
        .layer(compression::layer())
        .layer(PermitLayer::new(Arc::new(Permits::new(ENCODERS)), Overload::default()))
        .service(service_fn(answer));
    Ok(Report { samples: vec![encoders(&serving(service)).await?, unit().await?] })
}

async fn twin() -> Result<Report> {
    let encoding = CompressionLayer::new();
    let service = ServiceBuilder::new().layer(encoding).service(service_fn(answer));
    Ok(Report { samples: vec![encoders(&serving(service)).await?] })
}

async fn answer(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Body::new(Frames { left: 256 }));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Responses that are encoded, of many whose readers have stalled.
async fn encoders(service: &Service) -> Result<Sample> {
    let mut encoders = Vec::new();
    for _ in 0..REPETITIONS {
        let mut clients = Vec::new();
        for _ in 0..ASKED {
            let mut client = service.call().begin();
            let head = "GET / HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\n\r\n";
            client.send(head.as_bytes()).await?;
            client.answered().await;
            clients.push(client);
        }
        let mut encoded = 0;
        for client in &mut clients {
            let fields = client.fields("200").await?;
            encoded += u32::from(fields.contains("content-encoding: gzip"));
        }
        encoders.push(f64::from(encoded));
        drop(clients);
        service.closed().await;
    }
    Ok(Sample::new("encoders", encoders))
}

/// The most that one encoder holds, as a share of what the formula says.
async fn unit() -> Result<Sample> {
    let permits = Arc::new(Permits::new(1));
    let mut peaks = Vec::new();
    for _ in 0..=REPETITIONS {
        let service = ServiceBuilder::new()
            .layer(compression::layer())
            .layer(PermitLayer::new(permits.clone(), Overload::default()))
            .service(service_fn(answer));
        let mut request = Request::new(Body::empty());
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let probe = Probe::start();
        let response = service.oneshot(request).await?;
        ensure!(response.headers().contains_key(CONTENT_ENCODING), "it is not encoded");
        let mut body = pin!(response.into_body());
        while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            frame.map_err(|error| anyhow::anyhow!("{error}"))?;
        }
        peaks.push(probe.read().peak as f64);
    }
    Ok(Sample::new("encoder", peaks).share_of("unit", cost()))
}

/// A body that costs nothing, half of which can't be encoded in less.
struct Frames {
    left: usize,
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.left = match self.left.checked_sub(1) {
            Some(left) => left,
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(Frame::data(FRAME.clone()))))
    }
}

static FRAME: LazyLock<Bytes> = LazyLock::new(|| {
    let hex = (0..512).map(|_| Uuid::new_v4().simple().to_string());
    Bytes::from(hex.collect::<String>())
});
