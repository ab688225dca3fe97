//! Body limit: what a hostile body can cost, by size, by shape, by compression.
//!
//! **The twin**: the body, decompressed, as a `serde_json::Value`.

use std::convert::Infallible;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::body::{Body, Bytes};
use axum::response::IntoResponse as _;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use meter::{Probe, Report, Sample};
use pattern::json::{self, MAX_JSON, cost};
use serde::Deserialize;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_http::decompression::RequestDecompressionLayer;

use super::Case;
use crate::rig;
use crate::rig::measure::REPETITIONS;

pub const CASE: Case = Case {
    name: "body_limit",
    about: "a hostile body: bounded in size, in shape, and when decompressed",
    pattern: || rig::run(pattern()),
    twin: || rig::run(twin()),
};

/// What a bomb becomes, and what a legal body has, in bytes.
const BOMB: usize = 8 * 1024 * 1024;
const LEGAL: usize = 2 * 1024 * 1024;

/// Longer than any body here takes to come.
const PATIENCE: Duration = Duration::from_secs(10);

async fn pattern() -> Result<Report> {
    let mut samples = hostile(bounded).await?;
    let nested = vec![b'['; MAX_JSON];
    let mut members = b"{\"name\":\"".to_vec();
    members.resize(MAX_JSON - 2, b'x');
    members.extend_from_slice(b"\"}");
    for (metric, bytes, frame, gzip, status) in [
        ("unit_nested", nested, MAX_JSON, false, 400),
        ("unit_crumbs", members, 1, false, 200),
        ("unit_bomb", bomb()?, 1024, true, 413),
    ] {
        let mut peaks = Vec::new();
        for _ in 0..=REPETITIONS {
            peaks.push(peak(bounded, bytes.clone().into(), frame, gzip, status).await?);
        }
        samples.push(Sample::new(metric, peaks.split_off(1)).share_of(metric, cost()));
    }
    Ok(Report { samples })
}

async fn twin() -> Result<Report> {
    Ok(Report { samples: hostile(naive).await? })
}

async fn hostile(handler: Handler) -> Result<Vec<Sample>> {
    let (legal, bomb): (Bytes, Bytes) = (legal().into(), bomb()?.into());
    let (mut of_legal, mut of_bomb) = (Vec::new(), Vec::new());
    for _ in 0..=REPETITIONS {
        of_legal.push(peak(handler, legal.clone(), 16 * 1024, false, 413).await?);
        of_bomb.push(peak(handler, bomb.clone(), 1024, true, 413).await?);
    }
    let samples = [("legal", of_legal), ("bomb", of_bomb)];
    Ok(samples.map(|(metric, mut all)| Sample::new(metric, all.split_off(1))).into())
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>>>>;
type Handler = fn(Request<Body>) -> Answer;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[expect(dead_code, reason = "it is read, and that is all")]
    name: String,
}

fn bounded(request: Request<Body>) -> Answer {
    Box::pin(async move {
        let (head, body) = request.into_parts();
        Ok(match json::read::<Change>(&head.headers, body, PATIENCE).await {
            Ok(_) => Response::new(Body::empty()),
            Err(problem) => problem.into_response(),
        })
    })
}

/// It says 413 too, when it has done all the work.
fn naive(request: Request<Body>) -> Answer {
    Box::pin(async move {
        let bytes = request.into_body().collect().await.unwrap_or_default().to_bytes();
        let value: Result<serde_json::Value, _> = serde_json::from_slice(&bytes);
        drop(value);
        Ok(StatusCode::PAYLOAD_TOO_LARGE.into_response())
    })
}

/// The peak of one request, in bytes.
async fn peak(handler: Handler, bytes: Bytes, size: usize, gzip: bool, status: u16) -> Result<f64> {
    let service = ServiceBuilder::new()
        .layer(RequestDecompressionLayer::new())
        .map_request(|request: Request<_>| request.map(Body::new))
        .service(service_fn(handler));
    let mut request = Request::new(Body::new(Frames { bytes, size }));
    let fields = request.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if gzip {
        fields.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let probe = Probe::start();
    let response = service.oneshot(request).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    ensure!(response.status() == status, "{} where {status} was expected", response.status());
    Ok(probe.read().peak as f64)
}

/// Legal, and small: an object a member of a list, each a map with a node of its own.
fn legal() -> Vec<u8> {
    let mut body = b"[".to_vec();
    while body.len() < LEGAL - 64 {
        body.extend_from_slice(b"{\"\":0},");
    }
    body.extend_from_slice(b"0]");
    body
}

fn bomb() -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&vec![b' '; BOMB])?;
    Ok(encoder.finish()?)
}

/// A body that costs nothing: slices of what is there.
struct Frames {
    bytes: Bytes,
    size: usize,
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let size = self.size.min(self.bytes.len());
        Poll::Ready(Some(Ok(Frame::data(self.bytes.split_to(size)))))
    }
}
