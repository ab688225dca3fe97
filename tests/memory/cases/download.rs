//! Download: peak flat in the file's size, small for each reader, even one that
//! has stopped.
//!
//! **What goes wrong**: a handler that reads the file and then answers holds
//! each file whole, for as long as its client takes.
//!
//! **The pattern**: `streaming::download`. One chunk is read when the connection
//! asks for it; what pays for it is held until its last byte is written.
//!
//! **The bound**: `streaming::download::cost(chunk)`, whatever the file's size
//! and wherever the client stops; a fast one has a large chunk, too.
//!
//! **The twin**: what a search finds first: `fs::read`, then the bytes as a body.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::Router;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::get;
use handler::App;
use meter::{Report, Sample};
use server::connection;
use sha2::{Digest as _, Sha256};
use storage::{PgPool, files};
use streaming::chunks;
use streaming::download::cost;
use uuid::Uuid;

use super::{Case, Tier};
use crate::rig::application::{HOST, Home, Rig, returned};
use crate::rig::content::Digest;
use crate::rig::measure::{self, Subject};
use crate::rig::{self, Client, MIB, Operation, Service};

pub const CASE: Case = Case {
    name: "download",
    tier: Tier::A,
    about: "a file becomes a response: peak flat in its size, small for a stalled reader",
    pattern: || rig::run(Home::with(async |home| Box::pin(pattern(home)).await)),
    twin: || rig::run(Home::with(async |home| twin(home).await)),
};

/// No chunk is large: what those hold is `large`'s to tell.
pub const NOT_LARGE: [&str; 2] = ["--large-chunks", "0"];

async fn pattern(home: &Home) -> Result<Report> {
    let rig = home.build(&NOT_LARGE).await?;
    let subject = Download::new(&rig, rig.service()).await?;
    let mut samples = Vec::from(measure::peak_slope(&subject).await?);
    samples.push(measure::peak_per_concurrent(&subject).await?);
    let (buffer, chunk) = (rig.application.settings.buffer, rig.application.app.chunks.small());
    let stalled = subject.stalled_reader(chunk, POSITIONS).await?;
    samples.push(stalled.clone());
    samples.extend(measure::retained(&subject.service, || abort(&subject)).await?);
    let planned = connection::cost(buffer) + cost(chunk);
    samples.push(stalled.share_of("plan_share", planned));
    rig.end().await;
    for chunk in [16, 64, 256] {
        samples.push(unit(home, chunk * 1024).await?);
    }
    samples.push(large(home).await?);
    Ok(Report { samples })
}

async fn twin(home: &Home) -> Result<Report> {
    let rig = home.build(&[]).await?;
    let routes = Router::new()
        .route("/v1/files/{id}/content", get(naive))
        .with_state((rig.application.app.clone(), rig.content()));
    let subject = Download::new(&rig, rig.twin(routes)).await?;
    let mut samples = Vec::from(measure::peak_slope(&subject).await?);
    samples.push(measure::peak_per_concurrent(&subject).await?);
    samples.push(subject.stalled_reader(rig.application.app.chunks.small(), POSITIONS).await?);
    rig.end().await;
    Ok(Report { samples })
}

/// The same work as the pattern's: record, file, bytes.
async fn naive(
    State((app, folder)): State<(Arc<App>, PathBuf)>,
    Path(id): Path<Uuid>,
) -> Result<impl IntoResponse, String> {
    let record = files::get(&app.pool, id).await.map_err(|error| error.to_string())?;
    record.ok_or("there is no such file")?;
    tokio::fs::read(folder.join(id.to_string())).await.map_err(|error| error.to_string())
}

/// Files of every size that is measured, and a service that has them.
pub struct Download {
    service: Service,
    pool: PgPool,
    files: Vec<(u64, Uuid, Digest)>,
}

impl Download {
    pub async fn new(rig: &Rig, service: Service) -> Result<Self> {
        let mut files = Vec::new();
        for mib in measure::SIZES {
            let (id, digest) = rig.seed(mib * MIB).await?;
            files.push((mib * MIB, id, digest));
            // In the cache from here on: what it holds is its own case's.
            rig.application.app.records.get(id).await?;
        }
        Ok(Self { service, pool: rig.application.app.pool.clone(), files })
    }

    /// `stalled_reader`: what a reader holds that has stopped, connection
    /// included, at the worst of many positions.
    pub async fn stalled_reader(&self, chunk: usize, positions: u64) -> Result<Sample> {
        let (size, id, _) = self.files[1];
        // By the golden section, which spreads any number of positions over the
        // chunk with no gap much larger than another.
        let step = chunk as u64 * 89 / 144;
        let stops = || (0..positions).map(|position| position * step);
        let mut all = Vec::new();
        let mut worst = Vec::new();
        for _ in 0..measure::REPETITIONS {
            let held =
                measure::held(&self.service, stops(), |stop| self.stop_at(id, size, stop)).await?;
            worst.push(held.iter().copied().fold(f64::NAN, f64::max));
            all.extend(held);
        }
        let least = all.iter().copied().fold(f64::NAN, f64::min);
        let note = format!(
            "{} to {} over {} positions",
            meter::figure::bytes(least),
            meter::figure::bytes(worst.iter().copied().fold(f64::NAN, f64::max)),
            positions,
        );
        Ok(Sample::new("stalled_reader", worst).with_note(note))
    }

    fn stop_at(&self, id: Uuid, size: u64, stop: u64) -> Operation<Client> {
        let call = self.service.call();
        let head = head(id);
        Box::pin(async move {
            let mut client = call.begin();
            client.send(head.as_bytes()).await?;
            ensure!(client.head("200").await? == size, "a response of another size");
            let mut hasher = Sha256::new();
            client.body(stop, &mut hasher).await?;
            trickle(&mut client, size - stop, &mut hasher).await?;
            Ok(client)
        })
    }
}

/// Clients pause so often, near the beginning: at full speed it is chance
/// whether the next chunk comes before the last is gone, and the peak with it.
const PAUSES: usize = 3;

/// Between pauses, in bytes: with what the pipe takes, little is left of a chunk
/// of 64 KiB at each.
const STRIDE: u64 = 60 * 1024;

/// So long that all clients in flight hold what they hold at the same time.
const HOLD: Duration = Duration::from_millis(20);

/// A client that has all but stopped: it takes 1 KiB, twice, with a pause before
/// each. The connection asks for the next chunk only when it is woken while
/// little is left of the last: a client that stops dead never shows both.
async fn trickle(client: &mut Client, left: u64, hasher: &mut Sha256) -> Result<u64> {
    let mut taken = 0;
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let part = 1024.min(left - taken);
        client.body(part, hasher).await?;
        taken += part;
    }
    Ok(taken)
}

/// How many positions of a chunk a reader is stopped at: for 64 KiB, one in
/// 2 KiB.
pub const POSITIONS: u64 = 48;

/// Enough for the units: for 256 KiB one in 14 KiB, below the connection's
/// buffer of 16 KiB, which is where two chunks are held.
const FEW_POSITIONS: u64 = 24;

impl Subject for Download {
    fn service(&self) -> &Service {
        &self.service
    }

    fn operation(&self, size: u64) -> Operation {
        let call = self.service.call();
        let file = self.files.iter().copied().find(|(of, ..)| *of == size);
        let head = file.map(|(_, id, _)| head(id)).unwrap_or_default();
        let pool = self.pool.clone();
        Box::pin(async move {
            let mut client = call.begin();
            client.send(head.as_bytes()).await?;
            client.answered().await;
            returned(&pool).await;
            let mut left = client.head("200").await?;
            let mut hasher = Sha256::new();
            for _ in 0..PAUSES {
                let part = left.min(STRIDE);
                client.body(part, &mut hasher).await?;
                left -= part;
                left -= trickle(&mut client, left, &mut hasher).await?;
                tokio::time::sleep(HOLD).await;
            }
            client.body(left, &mut hasher).await?;
            let digest: Digest = hasher.finalize().into();
            ensure!(file.is_some_and(|file| file.2 == digest), "other bytes came than were stored");
            Ok(())
        })
    }

    // Each client has compared the digest.
    fn check(&self, _: usize, _: u64) -> Result<()> {
        Ok(())
    }
}

fn head(id: Uuid) -> String {
    format!("GET /v1/files/{id}/content HTTP/1.1\r\n{HOST}\r\n")
}

/// A client that vanishes with 300 KiB of its MiB read.
fn abort(subject: &Download) -> Operation {
    let call = subject.service.call();
    let head = head(subject.files[0].1);
    Box::pin(async move {
        let mut client = call.begin();
        client.send(head.as_bytes()).await?;
        client.head("200").await?;
        client.body(300 * 1024, &mut Sha256::new()).await
    })
}

/// What a connection holds after a request, waiting for the next.
async fn idle_connection(subject: &Download) -> Result<f64> {
    let held = measure::held(&subject.service, [0], |_| {
        let call = subject.service.call();
        let head = head(subject.files[0].1).replace("GET", "HEAD");
        Box::pin(async move {
            let mut client = call.begin();
            client.send(head.as_bytes()).await?;
            client.head("200").await?;
            Ok(client)
        })
    });
    Ok(held.await?[0])
}

/// What a stalled reader holds beyond its connection, at the worst position, as
/// a share of what the formula says.
async fn unit(home: &Home, chunk: usize) -> Result<Sample> {
    let flag = chunk.to_string();
    let rig = home.build(&[["--download-chunk", &flag], NOT_LARGE].concat()).await?;
    let subject = Download::new(&rig, rig.service()).await?;
    let idle = idle_connection(&subject).await?;
    let mut held = subject.stalled_reader(chunk, FEW_POSITIONS).await?;
    held.repetitions.iter_mut().for_each(|bytes| *bytes -= idle);
    rig.end().await;
    Ok(held.share_of(&format!("unit_{}k", chunk / 1024), cost(chunk)))
}

/// What one download holds that could have eight large chunks, as a share of what its
/// connection, itself and one of them may hold.
async fn large(home: &Home) -> Result<Sample> {
    let rig = home.build(&["--large-chunks", "8"]).await?;
    let subject = Download::new(&rig, rig.service()).await?;
    let peak = measure::peak_of_one(&subject, 64 * MIB).await?;
    let chunks = &rig.application.app.chunks;
    ensure!(chunks.most() == 1, "it had {} large chunks", chunks.most());
    let (buffer, chunk) = (rig.application.settings.buffer, chunks.small());
    let planned = connection::cost(buffer) + cost(chunk) + chunks::cost(chunk);
    rig.end().await;
    Ok(peak.share_of("large", planned))
}
