//! Multipart: peak flat in the size of a form's parts.
//!
//! **What goes wrong**: `field.bytes()` holds a part whole, and more than that
//! while its buffer grows: a form is an upload that nobody streams.
//!
//! **The pattern**: `handler::multipart`. The body is handed to multer one frame
//! at a time; each part goes through the upload's own buffer to a staged file.
//!
//! **The bound**: `streaming::upload::cost(chunk)`, and
//! `handler::multipart::cost(frame)` for what multer holds of the form; an
//! aborted form retains nothing, in memory or on disk.
//!
//! **The twin**: axum's `Multipart` extractor with `field.bytes()`, as its own
//! example has it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, ensure};
use axum::extract::{DefaultBodyLimit, Multipart, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use handler::App;
use handler::multipart::cost;
use meter::{Report, Sample};
use server::connection;
use sha2::{Digest as _, Sha256};
use storage::files::{self, NewFile};
use streaming::upload;
use uuid::Uuid;

use super::upload::{NOT_LENT, Upload};
use super::{Case, Tier};
use crate::rig::application::{HOST, Home, Rig};
use crate::rig::content::Content;
use crate::rig::measure::{self, Subject};
use crate::rig::{self, MIB, Operation, Service};

pub const CASE: Case = Case {
    name: "multipart",
    tier: Tier::A,
    about: "a form's parts become files: peak flat in their size",
    pattern: || rig::run(Home::with(async |home| Box::pin(pattern(home)).await)),
    twin: || rig::run(Home::with(async |home| twin(home).await)),
};

/// After the last content.
const END: &str = "--memory--\r\n";

async fn pattern(home: &Home) -> Result<Report> {
    let rig = home.build(&NOT_LENT).await?;
    let service = rig.service();
    let subject = Form { rig: &rig, service: &service, parts: 1 };
    let mut samples = Vec::from(measure::peak_slope(&subject).await?);
    let in_flight = measure::peak_per_concurrent(&subject).await?;
    samples.push(in_flight.clone());
    samples.extend(measure::retained(&service, || abort(&service)).await?);
    ensure!(rig.staged()? == 0, "aborted forms left staged files behind");
    let buffer = rig.application.settings.buffer;
    samples.push(in_flight.share_of("plan_share", planned(&rig) + cost(buffer)));
    rig.end().await;
    for buffer in [16, 32, 64] {
        samples.push(unit(home, buffer * 1024).await?);
    }
    Ok(Report { samples })
}

/// What the plan counts for an upload that is no form.
fn planned(rig: &Rig) -> usize {
    let buffer = rig.application.settings.buffer;
    let chunk = rig.application.app.upload_limits.buffers.size();
    connection::cost(buffer) + connection::busy_cost(buffer) + upload::cost(chunk)
}

async fn twin(home: &Home) -> Result<Report> {
    let rig = home.build(&[]).await?;
    let routes = Router::new()
        .route("/v1/files", post(naive))
        .layer(DefaultBodyLimit::disable())
        .with_state((rig.application.app.clone(), rig.content()));
    let service = rig.twin(routes);
    let subject = Form { rig: &rig, service: &service, parts: 1 };
    let mut samples = Vec::from(measure::peak_slope(&subject).await?);
    samples.push(measure::peak_per_concurrent(&subject).await?);
    rig.end().await;
    Ok(Report { samples })
}

/// The same work as the pattern's: digest, file, record.
async fn naive(
    State((app, folder)): State<(Arc<App>, PathBuf)>,
    mut form: Multipart,
) -> Result<impl IntoResponse, String> {
    let mut ids = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|error| error.to_string())? {
        let [name, content_type] = [field.file_name(), field.content_type()]
            .map(|text| text.unwrap_or_default().to_owned());
        #[expect(clippy::disallowed_methods, reason = "this is the twin's habit")]
        let body = field.bytes().await.map_err(|error| error.to_string())?;
        let sha256 = Sha256::digest(&body).into();
        let id = Uuid::now_v7();
        tokio::fs::write(folder.join(id.to_string()), &body)
            .await
            .map_err(|error| error.to_string())?;
        let size = i64::try_from(body.len()).map_err(|error| error.to_string())?;
        let file = NewFile { id, name, content_type, size, sha256 };
        files::insert(&app.pool, &file).await.map_err(|error| error.to_string())?;
        ids.push(id);
    }
    Ok((StatusCode::CREATED, Json(ids)))
}

struct Form<'a> {
    rig: &'a Rig,
    service: &'a Service,
    /// Files in each form, all of one size.
    parts: u64,
}

impl Subject for Form<'_> {
    fn service(&self) -> &Service {
        self.service
    }

    fn operation(&self, size: u64) -> Operation {
        let call = self.service.call();
        let (part, parts) = (part(self.parts), self.parts);
        let head = head(size + parts * (part.len() + 2) as u64 + END.len() as u64);
        Box::pin(async move {
            let mut client = call.begin();
            client.send(head.as_bytes()).await?;
            for _ in 0..parts {
                client.send(part.as_bytes()).await?;
                client.send_content(size / parts, size / parts).await?;
                client.send(b"\r\n").await?;
            }
            client.send(END.as_bytes()).await?;
            let record = client.head("201").await?;
            client.whole_body(record).await?;
            Ok(())
        })
    }

    fn check(&self, count: usize, size: u64) -> Result<()> {
        let parts = usize::try_from(self.parts)?;
        self.rig.take_stored(count * parts, Content::new().digest(size / self.parts))
    }
}

/// What stands before a content. Of several, each has the longest name that there
/// is.
fn part(parts: u64) -> String {
    let name = "n".repeat(if parts == 1 { 6 } else { 255 });
    format!(
        "--memory\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         content-type: application/octet-stream\r\n\r\n"
    )
}

fn head(length: u64) -> String {
    format!(
        "POST /v1/files HTTP/1.1\r\n{HOST}content-type: multipart/form-data; boundary=memory\r\n\
         content-length: {length}\r\n\r\n"
    )
}

/// A client that vanishes with 400 of 1,024 KiB of a part sent.
fn abort(service: &Service) -> Operation {
    let call = service.call();
    let (head, part) = (head(MIB), part(1));
    Box::pin(async move {
        let mut client = call.begin();
        client.send(head.as_bytes()).await?;
        client.send(part.as_bytes()).await?;
        client.send_content(400 * 1024, MIB).await
    })
}

/// Files of a form whose unit is measured: small ones, of which multer could take in
/// one after the other. Each is synced, so that there are not more.
const FILES: u64 = 8;

/// What one more form of several files in flight holds beyond an upload that is none, as a share of what the formula says.
async fn unit(home: &Home, buffer: usize) -> Result<Sample> {
    let flag = buffer.to_string();
    let rig = home.build(&[["--connection-buffer", &flag], NOT_LENT].concat()).await?;
    let service = rig.service();
    let raw = measure::peak_per_concurrent(&Upload { rig: &rig, service: &service }).await?;
    let form = Form { rig: &rig, service: &service, parts: FILES };
    let mut sample = measure::peak_per_concurrent(&form).await?;
    sample.repetitions.iter_mut().for_each(|bytes| *bytes -= raw.least());
    rig.end().await;
    Ok(sample.share_of(&format!("unit_{}k", buffer / 1024), cost(buffer)))
}
