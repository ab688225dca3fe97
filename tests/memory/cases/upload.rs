//! Upload: peak flat in the body's size.
//!
//! **What goes wrong**: a handler that takes `Bytes` holds each body whole, and
//! more than that while the buffer grows: a few clients are enough.
//!
//! **The pattern**: `streaming::upload`. Frames are copied into a buffer; when it is
//! full, it is hashed and written on the blocking pool. One that is alone borrows the
//! buffers of those that are not there; when there is none, the body waits.
//!
//! **The bound**: `streaming::upload::cost(chunk)`, whatever the body's size, or that of
//! all the buffers together, for one that has them all; one that pauses has none; an
//! aborted upload retains nothing, in memory or on disk.
//!
//! **The twin**: what axum's documentation shows first: the `Bytes` extractor,
//! then `fs::write`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use handler::App;
use meter::{Report, Sample};
use server::connection;
use sha2::{Digest as _, Sha256};
use storage::files::{self, NewFile};
use streaming::buffers::PAUSE;
use streaming::upload::{cost, receive};
use streaming::{Buffers, UploadLimits};
use uuid::Uuid;

use super::{Case, Tier};
use crate::rig::application::{HOST, Home, Rig};
use crate::rig::content::Content;
use crate::rig::frames::Meeting;
use crate::rig::measure::{self, Subject};
use crate::rig::{self, Client, MIB, Operation, Service};

pub const CASE: Case = Case {
    name: "upload",
    tier: Tier::A,
    about: "a request body becomes a file: peak flat in its size",
    pattern: || rig::run(Home::with(async |home| Box::pin(pattern(home)).await)),
    twin: || rig::run(Home::with(async |home| twin(home).await)),
};

/// No upload borrows: what one holds that is alone is `lent`'s to tell.
pub const NOT_LENT: [&str; 2] = ["--upload-borrow", "0"];

async fn pattern(home: &Home) -> Result<Report> {
    let rig = home.build(&NOT_LENT).await?;
    let service = rig.service();
    let subject = Upload { rig: &rig, service: &service };
    let mut samples = Vec::from(measure::peak_slope(&subject).await?);
    let in_flight = measure::peak_per_concurrent(&subject).await?;
    samples.push(in_flight.clone());
    samples.extend(measure::retained(&service, || abort(&service)).await?);
    ensure!(rig.staged()? == 0, "aborted uploads left staged files behind");
    let (buffer, limits) =
        (rig.application.settings.buffer, rig.application.app.upload_limits.clone());
    let planned =
        connection::cost(buffer) + connection::busy_cost(buffer) + cost(limits.buffers.size());
    samples.push(in_flight.share_of("plan_share", planned));
    samples.push(Sample::new(
        "paused",
        measure::held(&service, STOPS, |at| pause(&service, at)).await?,
    ));
    rig.end().await;
    let rig = home.build(&[]).await?;
    for chunk in [16, 64, 256] {
        samples.push(unit(&rig, chunk * 1024).await?);
    }
    samples.push(lent(&rig).await?);
    rig.end().await;
    Ok(Report { samples })
}

async fn twin(home: &Home) -> Result<Report> {
    let rig = home.build(&[]).await?;
    let routes = Router::new()
        .route("/v1/files", post(naive))
        .layer(DefaultBodyLimit::disable())
        .with_state((rig.application.app.clone(), rig.content()));
    let service = rig.twin(routes);
    let subject = Upload { rig: &rig, service: &service };
    let mut samples = Vec::from(measure::peak_slope(&subject).await?);
    samples.push(measure::peak_per_concurrent(&subject).await?);
    rig.end().await;
    Ok(Report { samples })
}

/// The same work as the pattern's: digest, file, record.
async fn naive(
    State((app, folder)): State<(Arc<App>, PathBuf)>,
    body: Bytes,
) -> Result<impl IntoResponse, String> {
    let sha256 = Sha256::digest(&body).into();
    let id = Uuid::now_v7();
    tokio::fs::write(folder.join(id.to_string()), &body)
        .await
        .map_err(|error| error.to_string())?;
    let [name, content_type] = ["naive", "application/octet-stream"].map(str::to_owned);
    let size = i64::try_from(body.len()).map_err(|error| error.to_string())?;
    let file = NewFile { id, name, content_type, size, sha256 };
    files::insert(&app.pool, &file).await.map_err(|error| error.to_string())?;
    Ok((StatusCode::CREATED, Json(id)))
}

pub struct Upload<'a> {
    pub rig: &'a Rig,
    pub service: &'a Service,
}

impl Subject for Upload<'_> {
    fn service(&self) -> &Service {
        self.service
    }

    fn operation(&self, size: u64) -> Operation {
        let call = self.service.call();
        let head = head(size);
        Box::pin(async move {
            let mut client = call.begin();
            client.send(head.as_bytes()).await?;
            client.send_content(size, size).await?;
            let record = client.head("201").await?;
            client.whole_body(record).await?;
            Ok(())
        })
    }

    fn check(&self, count: usize, size: u64) -> Result<()> {
        self.rig.take_stored(count, Content::new().digest(size))
    }
}

pub fn head(size: u64) -> String {
    format!("POST /v1/files?name=memory HTTP/1.1\r\n{HOST}content-length: {size}\r\n\r\n")
}

/// A client that vanishes with 400 of 1,024 KiB sent: a buffer was written, and
/// the next is half full.
fn abort(service: &Service) -> Operation {
    let call = service.call();
    let head = head(MIB);
    Box::pin(async move {
        let mut client = call.begin();
        client.send(head.as_bytes()).await?;
        client.send_content(400 * 1024, MIB).await
    })
}

/// Where a client pauses, in bytes of 1 MiB: with a buffer half full, and one just begun.
const STOPS: [u64; 2] = [400 << 10, 513 << 10];

/// A client that has sent so much, and then nothing for longer than a buffer waits.
fn pause(service: &Service, at: u64) -> Operation<Client> {
    let call = service.call();
    let head = head(MIB);
    Box::pin(async move {
        let mut client = call.begin();
        client.send(head.as_bytes()).await?;
        client.send_content(at, MIB).await?;
        tokio::time::sleep(PAUSE * 3 / 2).await;
        Ok(client)
    })
}

/// What one more upload holds, without connection and handler, as a share of
/// what the formula says.
async fn unit(rig: &Rig, chunk: usize) -> Result<Sample> {
    let (idle, meeting) = (Service::new(async |_| ()), Meeting::default());
    let pattern = Receiving { rig, buffers: Buffers::new(16, chunk), borrow: 0, idle, meeting };
    let sample = measure::peak_per_concurrent(&pattern).await?;
    Ok(sample.share_of(&format!("unit_{}k", chunk / 1024), cost(chunk)))
}

/// What one upload holds that has the buffers of fifteen others, as a share of what the
/// plan counts for all of their buffers; it may have more, but there are none.
async fn lent(rig: &Rig) -> Result<Sample> {
    let (idle, meeting) = (Service::new(async |_| ()), Meeting::default());
    let (chunk, count) = (64 * 1024, 16);
    let buffers = Buffers::new(count, chunk);
    let subject = Receiving { rig, buffers, borrow: 4 * count, idle, meeting };
    let peak = measure::peak_of_one(&subject, 64 * MIB).await?;
    Ok(peak.share_of("lent", cost(count * chunk)))
}

struct Receiving<'a> {
    rig: &'a Rig,
    buffers: Buffers,
    borrow: usize,
    idle: Service,
    meeting: Meeting,
}

impl Subject for Receiving<'_> {
    fn service(&self) -> &Service {
        &self.idle
    }

    fn operation(&self, size: u64) -> Operation {
        let store = self.rig.application.app.store.clone();
        let (buffers, borrow) = (self.buffers.clone(), self.borrow);
        let limits =
            UploadLimits { max_size: size, buffers, borrow, stall: Duration::from_secs(60) };
        let frames = self.meeting.body(size);
        Box::pin(async move {
            // Boxed here, as it is in a connection's task: it is part of the cost.
            let received = Box::pin(receive(&store, frames, limits, ())).await?;
            ensure!(received.size == size, "{} bytes received of {size}", received.size);
            Ok(())
        })
    }

    fn check(&self, _: usize, _: u64) -> Result<()> {
        self.meeting.end();
        Ok(())
    }
}
