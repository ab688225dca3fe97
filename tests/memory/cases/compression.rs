//! Compression: as many encoders as there are permits, however many are asked
//! for.
//!
//! **What goes wrong**: an encoder is state that a client asks for with a header,
//! and that lives for as long as it takes to read the response.
//!
//! **The pattern**: `handler::compression`. A permit for each encoder; who finds
//! none gets the response as it is.
//!
//! **The bound**: `handler::compression::cost()` for each of `--max-encoders`.
//!
//! **The twin**: tower-http's `CompressionLayer::new()` in front of the same
//! routes. (Of its encoders only gzip is in this build; brotli's and zstd's are
//! larger.)

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use anyhow::{Result, ensure};
use axum::body::{Body, Bytes};
use handler::compression::{self, PermitLayer, cost};
use handler::routes::routes;
use handler::{Overload, Permits};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{Request, Response};
use http_body::{Body as _, Frame};
use meter::{Probe, Report, Sample};
use storage::files::{self, NewFile};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_http::compression::CompressionLayer;
use uuid::Uuid;

use super::{Case, Tier};
use crate::rig::application::{HOST, Home, Rig, settled};
use crate::rig::measure::REPETITIONS;
use crate::rig::{self, Service};

pub const CASE: Case = Case {
    name: "compression",
    tier: Tier::A,
    about: "encoders: as many as permits, however many are asked for",
    pattern: || rig::run(Home::with(async |home| pattern(home).await)),
    twin: || rig::run(Home::with(async |home| twin(home).await)),
};

/// Responses at once; four times as many as there are encoders.
const ASKED: usize = 16;

/// So that an export does not fit between the two ends, encoded or not.
const FILES: usize = 3_000;

async fn pattern(home: &Home) -> Result<Report> {
    let rig = home.build(&["--max-encoders", "4"]).await?;
    let mut samples = measure(&rig, &rig.service()).await?;
    rig.end().await;
    samples.push(unit().await?);
    Ok(Report { samples })
}

async fn twin(home: &Home) -> Result<Report> {
    let rig = home.build(&[]).await?;
    let encoding = ServiceBuilder::new()
        .layer(CompressionLayer::new())
        .service(routes(rig.application.app.clone()));
    let samples = measure(&rig, &rig.serving(encoding)).await?;
    rig.end().await;
    Ok(Report { samples })
}

/// `encoders`: responses that were encoded. `held`: what all of them hold beyond
/// what they hold where none is.
async fn measure(rig: &Rig, service: &Service) -> Result<Vec<Sample>> {
    for _ in 0..FILES {
        let [name, content_type] = [Uuid::new_v4().to_string(), "text/plain".to_owned()];
        let file = NewFile { id: Uuid::now_v7(), name, content_type, size: 1, sha256: random() };
        files::insert(&rig.application.app.pool, &file).await?;
    }
    let (mut encoders, mut held) = (Vec::new(), Vec::new());
    for _ in 0..=REPETITIONS {
        let (none, plain) = stalled(rig, service, "identity").await?;
        ensure!(none == 0, "{none} responses were encoded that need not be");
        let (encoded, bytes) = stalled(rig, service, "gzip").await?;
        encoders.push(encoded as f64);
        held.push(bytes - plain);
    }
    let samples = [("encoders", encoders), ("held", held)];
    // The first has warmed up.
    Ok(samples.map(|(metric, all)| Sample::new(metric, all[1..].to_vec())).into())
}

/// Exports whose readers have stalled: how many are encoded, and what all hold.
async fn stalled(rig: &Rig, service: &Service, coding: &str) -> Result<(usize, f64)> {
    let head = format!("GET /v1/files/export HTTP/1.1\r\n{HOST}accept-encoding: {coding}\r\n\r\n");
    let calls: Vec<_> = (0..ASKED).map(|_| service.call()).collect();
    let before = service.rest().await?;
    let mut clients = Vec::with_capacity(ASKED);
    for call in calls {
        let mut client = call.begin();
        client.send(head.as_bytes()).await?;
        client.answered().await;
        clients.push(client);
    }
    let live = settled(&rig.application.app.pool).await?;
    let mut encoded = 0;
    for client in &mut clients {
        encoded += usize::from(client.fields("200").await?.contains("content-encoding: gzip"));
    }
    Ok((encoded, live as f64 - before as f64))
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(Uuid::new_v4().as_bytes());
    bytes[16..].copy_from_slice(Uuid::new_v4().as_bytes());
    bytes
}

/// The most that one encoder holds, alone, as a share of what the formula says.
async fn unit() -> Result<Sample> {
    let permits = Arc::new(Permits::new(1));
    let mut peaks = Vec::new();
    for _ in 0..=REPETITIONS {
        let service = ServiceBuilder::new()
            .layer(compression::layer())
            .layer(PermitLayer::new(permits.clone(), Overload::default()))
            .service(service_fn(async |_: Request<Body>| {
                let json = [(CONTENT_TYPE, "application/json")];
                Ok::<_, Infallible>(axum::response::IntoResponse::into_response((
                    json,
                    Body::new(Frames { left: 256 }),
                )))
            }));
        let mut request = Request::new(Body::empty());
        request.headers_mut().insert(ACCEPT_ENCODING, http::HeaderValue::from_static("gzip"));
        let probe = Probe::start();
        let response: Response<_> = service.oneshot(request).await?;
        ensure!(response.headers().contains_key(CONTENT_ENCODING), "the response is not encoded");
        let mut body = pin!(response.into_body());
        let mut size = 0;
        while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            let data = frame.map_err(|error| anyhow::anyhow!("{error}"))?.into_data();
            size += data.map_or(0, |data| data.len());
        }
        ensure!(size > 1024 * 1024, "encoded too well: {size} bytes");
        peaks.push(probe.read().peak as f64);
    }
    Ok(Sample::new("encoder", peaks).share_of("unit", cost()))
}

/// A body that costs nothing: frames of 16 KiB, about a page's worth for the
/// encoder. Half of what is in them can't be encoded in less.
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
