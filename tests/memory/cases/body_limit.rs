//! Body limit: what a hostile body can cost, by size, by shape, by compression.
//!
//! **What goes wrong**: a legal body of 2 MiB becomes hundreds of MiB as a
//! `serde_json::Value`; a limit outside of the decompression counts what came,
//! and not what comes of it.
//!
//! **The pattern**: `handler::json`. A limit inside of the decompression, frames
//! that are copied as they come, and a type that keeps what it names.
//!
//! **The bound**: `handler::json::cost()`, beside the connection and the request
//! as any other.
//!
//! **The twin**: `Json<serde_json::Value>` behind tower-http's
//! `RequestBodyLimitLayer` of 2 MiB, which axum's documentation names for limits
//! on everything, with decompression switched on inside of it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::patch;
use axum::{Json, Router};
use handler::App;
use handler::json::{self, MAX_JSON, cost};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use http_body::{Body as _, Frame};
use meter::{Probe, Report, Sample};
use serde::Deserialize;
use storage::files;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use uuid::Uuid;

use super::{Case, Tier};
use crate::rig::application::{HOST, Home, Rig};
use crate::rig::measure::{REPETITIONS, WARM_UPS};
use crate::rig::{self, Operation, Service};

pub const CASE: Case = Case {
    name: "body_limit",
    tier: Tier::A,
    about: "a hostile body: bounded in size, in shape, and when decompressed",
    pattern: || rig::run(Home::with(async |home| pattern(home).await)),
    twin: || rig::run(Home::with(async |home| twin(home).await)),
};

/// The twin's limit, which is axum's default too, in bytes.
const LIMIT: usize = 2 * 1024 * 1024;

/// What a bomb becomes, in bytes.
const BOMB: usize = 8 * 1024 * 1024;

/// Longer than any body here takes to come.
const PATIENCE: Duration = Duration::from_secs(10);

async fn pattern(home: &Home) -> Result<Report> {
    let rig = home.build(&[]).await?;
    let mut samples = hostile(&rig, &rig.service(), ["413", "413"]).await?;
    rig.end().await;
    for (metric, body, status) in units().await? {
        samples.push(unit(metric, &body, status).await?);
    }
    Ok(Report { samples })
}

async fn twin(home: &Home) -> Result<Report> {
    let rig = home.build(&[]).await?;
    let routes = Router::new()
        .route("/v1/files/{id}", patch(naive))
        .layer(RequestDecompressionLayer::new())
        .layer(RequestBodyLimitLayer::new(LIMIT))
        .layer(DefaultBodyLimit::disable())
        .with_state(rig.application.app.clone());
    let samples = hostile(&rig, &rig.twin(routes), ["422", "400"]).await?;
    rig.end().await;
    Ok(Report { samples })
}

/// The same work as the pattern's: the file has another name.
async fn naive(
    State(app): State<Arc<App>>,
    Path(id): Path<Uuid>,
    Json(change): Json<serde_json::Value>,
) -> Result<String, (StatusCode, String)> {
    let name = change["name"].as_str();
    let name = name.ok_or((StatusCode::UNPROCESSABLE_ENTITY, "no name".to_owned()))?;
    let renamed = files::rename(&app.pool, id, None, name).await;
    renamed.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok("renamed".to_owned())
}

/// `legal`: the peak of a legal body just below the twin's limit. `bomb`: that of
/// one that is small until it is decompressed. Connection included. An honest
/// client's file has its new name between them.
async fn hostile(rig: &Rig, service: &Service, statuses: [&'static str; 2]) -> Result<Vec<Sample>> {
    let (id, _) = rig.seed(1).await?;
    let legal = Arc::new(legal());
    let bomb = Arc::new(bomb().await?);
    ensure!(bomb.len() < LIMIT / 8, "the bomb has {} bytes", bomb.len());
    let mut peaks = [Vec::new(), Vec::new()];
    for repetition in 0..WARM_UPS + REPETITIONS {
        let bodies = [(&legal, ""), (&bomb, "content-encoding: gzip\r\n")];
        for (kind, (body, field)) in bodies.into_iter().enumerate() {
            let operation = send(service, id, body.clone(), field, statuses[kind]);
            service.rest().await?;
            let probe = Probe::start();
            operation.await?;
            let peak = probe.read().peak as f64;
            if repetition >= WARM_UPS {
                peaks[kind].push(peak);
            }
        }
        let name = format!("name {repetition}");
        let body = Arc::new(format!("{{\"name\":\"{name}\"}}").into_bytes());
        send(service, id, body, "", "200").await?;
        let record = files::get(&rig.application.app.pool, id).await?.context("no record")?;
        ensure!(record.name() == name, "{:?} where {name:?} was sent", record.name());
    }
    let [legal, bomb] = peaks;
    Ok(vec![Sample::new("legal", legal), Sample::new("bomb", bomb)])
}

fn send(
    service: &Service,
    id: Uuid,
    body: Arc<Vec<u8>>,
    field: &'static str,
    status: &'static str,
) -> Operation {
    let call = service.call();
    let head = format!(
        "PATCH /v1/files/{id} HTTP/1.1\r\n{HOST}content-type: application/json\r\n{field}\
         content-length: {}\r\n\r\n",
        body.len()
    );
    Box::pin(async move {
        let mut client = call.begin();
        client.send(head.as_bytes()).await?;
        // Who refuses it may do so before it is sent.
        let _ = client.send(&body).await;
        client.head(status).await.map(drop)
    })
}

/// Legal, and small: an object a member of a list, each a map with a node of its
/// own.
fn legal() -> Vec<u8> {
    let mut body = b"[".to_vec();
    while body.len() < LIMIT - 64 {
        body.extend_from_slice(b"{\"\":0},");
    }
    body.extend_from_slice(b"0]");
    body
}

/// What the unit is asked to read: each in frames of some size.
struct Hostile {
    bytes: Bytes,
    frame: usize,
    gzip: bool,
}

async fn units() -> Result<Vec<(&'static str, Hostile, &'static str)>> {
    let nested = vec![b'['; MAX_JSON];
    let mut members = b"{\"name\":\"".to_vec();
    members.resize(MAX_JSON - 2, b'x');
    members.extend_from_slice(b"\"}");
    let whole = MAX_JSON;
    let bomb = bomb().await?;
    let plain = |bytes: &[u8], frame| Hostile { bytes: bytes.to_vec().into(), frame, gzip: false };
    Ok(vec![
        ("unit_nested", plain(&nested, whole), "400"),
        ("unit_crumbs", plain(&members, 1), "200"),
        ("unit_bomb", Hostile { bytes: bomb.into(), frame: 16 * 1024, gzip: true }, "413"),
    ])
}

/// The most that reading such a body holds, decompression included, as a share
/// of what the formula says.
async fn unit(metric: &str, hostile: &Hostile, status: &str) -> Result<Sample> {
    let mut peaks = Vec::new();
    for _ in 0..=REPETITIONS {
        let service = ServiceBuilder::new()
            .map_response(|response: Response<_>| response.map(Body::new))
            .layer(RequestDecompressionLayer::new())
            .map_request(|request: Request<_>| request.map(Body::new))
            .service(service_fn(async |request: Request<Body>| {
                let (parts, body) = request.into_parts();
                let response = match json::read::<Change>(&parts.headers, body, PATIENCE).await {
                    Ok(change) => change.name.len().to_string().into_response(),
                    Err(problem) => problem.into_response(),
                };
                Ok::<_, Infallible>(response)
            }));
        let mut request =
            Request::new(Body::new(Frames { bytes: hostile.bytes.clone(), size: hostile.frame }));
        let fields = request.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if hostile.gzip {
            fields.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let probe = Probe::start();
        let response: Response<Body> = service.oneshot(request).await?;
        ensure!(response.status().as_str() == status, "{metric}: {}", response.status());
        peaks.push(probe.read().peak as f64);
    }
    Ok(Sample::new(metric, peaks).share_of(metric, cost()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    name: String,
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

/// A body that is small until it is decompressed.
pub async fn bomb() -> Result<Vec<u8>> {
    gzip(vec![b' '; BOMB]).await
}

/// `bytes`, compressed by what compresses responses.
async fn gzip(bytes: Vec<u8>) -> Result<Vec<u8>> {
    let service = ServiceBuilder::new().layer(CompressionLayer::new()).service(service_fn(
        async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::from(bytes.clone()))),
    ));
    let mut request = Request::new(Body::empty());
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    let mut body = std::pin::pin!(service.oneshot(request).await?.into_body());
    let mut compressed = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let data = frame.map_err(|error| anyhow::anyhow!("{error}"))?.into_data();
        compressed.extend_from_slice(&data.unwrap_or_default());
    }
    Ok(compressed)
}
