//! Response: allocations of a small answer, with all middleware on.
//!
//! **What goes wrong**: an answer of 400 bytes that passes through a
//! `serde_json::Value`, a `String` and a box for every layer costs three times
//! the allocations, at each of thousands of requests a second.
//!
//! **The pattern**: `handler::stack` wraps the Router from outside; the record is
//! borrowed from the cache and written once, into the answer.
//!
//! **The bound**: allocations and peak of a cached `GET /v1/files/{id}` on a
//! connection that is kept alive.
//!
//! **The twin**: what most services grow into: `to_value`, then `to_string`, and
//! each layer handed to `Router::layer`.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::Router;
use axum::extract::{Path, State};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use handler::admission::AdmissionLayer;
use handler::compression::{self, PermitLayer};
use handler::problem::render;
use handler::record::Record;
use handler::request_id::REQUEST_ID;
use handler::shown::Hex;
use handler::{Access, App, RateLimit, rate_limit};
use http::HeaderValue;
use http::header::{CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS};
use meter::{Probe, Report, Sample};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::{DefaultMakeSpan, DefaultOnResponse, TraceLayer};
use tower_http::validate_request::ValidateRequestHeaderLayer;
use tracing::Level;
use uuid::Uuid;

use super::{Case, Tier};
use crate::rig::application::{HOST, Home, Rig};
use crate::rig::measure;
use crate::rig::{self, Client, Service, rows};

pub const CASE: Case = Case {
    name: "response",
    tier: Tier::A,
    about: "a small answer from the cache: allocations with all middleware on",
    pattern: || rig::run(Home::with(async |home| pattern(home).await)),
    twin: || rig::run(Home::with(async |home| twin(home).await)),
};

async fn pattern(home: &Home) -> Result<Report> {
    let rig = home.build(&[]).await?;
    let service = rig.service();
    let samples = Vec::from(requests(&rig, &service).await?);
    rig.end().await;
    Ok(Report { samples })
}

async fn twin(home: &Home) -> Result<Report> {
    let rig = home.build(&[]).await?;
    let app = rig.application.app.clone();
    let access = Access::Loopback;
    let burst = NonZeroU32::MIN.saturating_add(1_000_000);
    let limit = RateLimit { period: Duration::from_micros(1), burst, proxies: 0 };
    let level = Level::INFO;
    let routes = Router::new()
        .route("/v1/files/{id}", get(naive))
        .with_state(app.clone())
        .layer(PermitLayer::new(app.encoders.clone(), app.overload.clone()))
        .layer(compression::layer())
        .layer(AdmissionLayer::new(app.requests.clone(), app.overload.clone()))
        .layer(ValidateRequestHeaderLayer::custom(access.clone()))
        .layer(rate_limit::layer(limit, access))
        .layer(CatchPanicLayer::new())
        .layer(SetResponseHeaderLayer::overriding(
            X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(map_response(async |response: Response| render(response)))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(DefaultMakeSpan::new().level(level))
                .on_response(DefaultOnResponse::new().level(level)),
        )
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid));
    let service = rig.twin(routes);
    let samples = Vec::from(requests(&rig, &service).await?);
    rig.end().await;
    Ok(Report { samples })
}

/// The same work as the pattern's: the record from the cache, its tag, JSON.
async fn naive(
    State(app): State<Arc<App>>,
    Path(id): Path<Uuid>,
) -> Result<impl IntoResponse, String> {
    let record = app.records.get(id).await.map_err(|error| error.to_string())?;
    let value = serde_json::to_value(Record::from(&*record)).map_err(|error| error.to_string())?;
    let text = serde_json::to_string(&value).map_err(|error| error.to_string())?;
    let tag = format!("\"{}\"", Hex(&Sha256::digest(&text)[..16]));
    Ok(([(CONTENT_TYPE, "application/json".to_owned()), (ETAG, tag)], text))
}

/// One repetition: the worst of so many.
const REQUESTS: usize = 200;

/// `allocs` and `peak` of one request, at the worst.
async fn requests(rig: &Rig, service: &Service) -> Result<[Sample; 2]> {
    rows::grow(&rig.application.app.pool, 1).await?;
    let expected: Value = serde_json::from_str(&rows::json(1))?;
    let mut client = service.call().begin();
    let head = head();
    let mut body = [0; 1024];
    for _ in 0..REQUESTS {
        request(&mut client, &head, &mut body).await?;
    }
    let (mut allocs, mut peaks) = (Vec::new(), Vec::new());
    for _ in 0..measure::REPETITIONS {
        let (mut most, mut peak) = (0, 0);
        for _ in 0..REQUESTS {
            let probe = Probe::start();
            let length = request(&mut client, &head, &mut body).await?;
            let used = probe.read();
            (most, peak) = (most.max(used.allocs + used.reallocs), peak.max(used.peak));
            let answer: Value = serde_json::from_slice(&body[..length])?;
            ensure!(answer == expected, "another record came");
        }
        allocs.push(most as f64);
        peaks.push(peak as f64);
    }
    Ok([Sample::new("allocs", allocs), Sample::new("peak", peaks)])
}

fn head() -> String {
    format!("GET /v1/files/{} HTTP/1.1\r\n{HOST}\r\n", rows::id(1))
}

/// One request and its answer, the length of which it returns. Allocates
/// nothing.
async fn request(client: &mut Client, head: &str, body: &mut [u8]) -> Result<usize> {
    client.send(head.as_bytes()).await?;
    let length = usize::try_from(client.head("200").await?)?;
    ensure!(length <= body.len(), "an answer of {length} bytes");
    client.body_into(&mut body[..length]).await?;
    Ok(length)
}
