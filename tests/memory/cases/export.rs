//! Export: peak flat in the number of rows, and no pooled connection held while
//! the client reads.
//!
//! **What goes wrong**: `fetch_all` holds every row, then every record as text,
//! then the whole text: three times the table, for as long as its client takes.
//!
//! **The pattern**: `handler::pages`. A page of rows is written to one buffer as
//! the rows come; the next is read while the client takes it, and no third. Where the
//! client does not take it at once, the connection goes back to the pool.
//!
//! **The bound**: `handler::pages::cost()`, whatever the number of rows and
//! wherever the client stops.
//!
//! **The twin**: what the database's documentation shows first: `fetch_all`,
//! then `serde_json::to_string` for each record.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use handler::App;
use handler::pages::{PAGE, cost};
use meter::{Report, Sample};
use serde::Serialize;
use server::connection;
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;
use storage::PgPool;
use uuid::Uuid;

use super::{Case, Tier};
use crate::rig::application::{Home, Rig, emptied};
use crate::rig::content::Digest;
use crate::rig::measure::{self, Subject};
use crate::rig::{self, Client, Operation, Service, rows};

pub const CASE: Case = Case {
    name: "export",
    tier: Tier::A,
    about: "every record, streamed: peak flat in rows, no connection held for a slow client",
    pattern: || rig::run(Home::with(async |home| Box::pin(pattern(home)).await)),
    twin: || rig::run(Home::with(async |home| twin(home).await)),
};

/// From a few pages to a thousand.
const ROWS: [u64; 3] = [1_000, 10_000, 100_000];

/// Enough for the twin, which takes 2 KiB a row.
const FEW_ROWS: [u64; 3] = [1_000, 10_000, 30_000];

async fn pattern(home: &Home) -> Result<Report> {
    let rig = home.build(&[]).await?;
    let subject = Export::new(&rig, rig.service());
    subject.grow(ROWS[0]).await?;
    let in_flight = measure::worst_per_concurrent(&subject).await?;
    let mut samples = Vec::from(subject.peak_slope(&ROWS).await?);
    let stalled = subject.stalled_reader().await?;
    let idle = subject.idle_connection().await?;
    samples.extend([in_flight.clone(), stalled.clone()]);
    let planned = connection::cost(rig.application.settings.buffer)
        + handler::admission::cost(rig.application.settings.buffer)
        + cost();
    samples.push(in_flight.share_of("plan_share", planned));
    let mut unit = stalled;
    unit.repetitions.iter_mut().for_each(|bytes| *bytes -= idle);
    samples.push(unit.share_of("unit", cost()));
    rig.end().await;
    samples.extend(retained(home).await?);
    Ok(Report { samples })
}

async fn twin(home: &Home) -> Result<Report> {
    let rig = home.build(&[]).await?;
    let routes =
        Router::new().route("/v1/files/export", get(naive)).with_state(rig.application.app.clone());
    let subject = Export::new(&rig, rig.twin(routes));
    subject.grow(ROWS[0]).await?;
    let in_flight = measure::worst_per_concurrent(&subject).await?;
    let mut samples = Vec::from(subject.peak_slope(&FEW_ROWS).await?);
    samples.extend([in_flight, subject.stalled_reader().await?]);
    rig.end().await;
    Ok(Report { samples })
}

/// A record as most would write it.
#[derive(Serialize)]
struct Record {
    id: Uuid,
    name: String,
    content_type: String,
    size: i64,
    sha256: String,
    created_at: String,
    updated_at: String,
}

/// The same work as the pattern's: every record, newest first, as NDJSON.
async fn naive(State(app): State<Arc<App>>) -> Result<impl IntoResponse, String> {
    let query = sqlx::query(
        r#"SELECT id, name, content_type, size, encode(sha256, 'hex') AS sha256,
                  to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS made,
                  to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS changed
           FROM files ORDER BY id DESC"#,
    );
    #[expect(clippy::disallowed_methods, reason = "the habit that is shown")]
    let rows = query.fetch_all(&app.pool).await.map_err(|error| error.to_string())?;
    let records: Vec<Record> = rows
        .iter()
        .map(|row| Record {
            id: row.get("id"),
            name: row.get("name"),
            content_type: row.get("content_type"),
            size: row.get("size"),
            sha256: row.get("sha256"),
            created_at: row.get("made"),
            updated_at: row.get("changed"),
        })
        .collect();
    let lines: Result<Vec<String>, _> = records.iter().map(serde_json::to_string).collect();
    Ok(lines.map_err(|error| error.to_string())?.join("\n") + "\n")
}

struct Export {
    service: Service,
    pool: PgPool,
    /// What a client must have received.
    expected: Cell<Digest>,
}

impl Export {
    fn new(rig: &Rig, service: Service) -> Self {
        Self { service, pool: rig.application.app.pool.clone(), expected: Cell::default() }
    }

    async fn grow(&self, count: u64) -> Result<()> {
        rows::grow(&self.pool, count).await?;
        self.expected.set(rows::digest(count, "\n", "\n"));
        Ok(())
    }

    async fn peak_slope(&self, rows: &[u64]) -> Result<[Sample; 2]> {
        measure::peak_over_rows(self, rows, async |count| self.grow(count).await).await
    }

    /// `stalled_reader`: what a reader holds that has stopped, connection
    /// included, at the worst of many positions.
    async fn stalled_reader(&self) -> Result<Sample> {
        // By the golden section: see download.rs.
        let step = PAGE as u64 * 89 / 144;
        let mut worst = Vec::new();
        for _ in 0..measure::REPETITIONS {
            let mut most = f64::NAN;
            for stop in (0..POSITIONS).map(|position| position * step) {
                // Neither before nor after is there a pooled connection.
                emptied(&self.pool).await?;
                let held = measure::held(&self.service, [stop], |stop| self.stop_at(stop)).await?;
                most = most.max(held[0]);
            }
            worst.push(most);
        }
        Ok(Sample::new("stalled_reader", worst))
    }

    fn stop_at(&self, stop: u64) -> Operation<Client> {
        let (call, pool) = (self.service.call(), self.pool.clone());
        Box::pin(async move {
            let mut client = begin(call).await?;
            let mut hasher = Sha256::new();
            client.body(stop, &mut hasher).await?;
            // It takes 1 KiB, twice, with a pause before each: the connection asks
            // for the next page only when it is woken while little is left.
            for _ in 0..2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                client.body(1024, &mut hasher).await?;
            }
            emptied(&pool).await?;
            Ok(client)
        })
    }

    /// What a connection holds after an export, waiting for the next request.
    async fn idle_connection(&self) -> Result<f64> {
        emptied(&self.pool).await?;
        let held = measure::held(&self.service, [0], |_| {
            let (call, pool) = (self.service.call(), self.pool.clone());
            Box::pin(async move {
                let mut client = begin(call).await?;
                client.chunks(&mut Sha256::new()).await?;
                emptied(&pool).await?;
                Ok(client)
            })
        });
        Ok(held.await?[0])
    }
}

/// Sends the request, and reads the head of a chunked response.
async fn begin(call: rig::service::Call) -> Result<Client> {
    let mut client = call.begin();
    client.send(HEAD.as_bytes()).await?;
    client.any_head("200").await?;
    Ok(client)
}

const HEAD: &str = "GET /v1/files/export HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";

/// How many positions a reader is stopped at.
const POSITIONS: u64 = 24;

/// Clients take so many pages slowly: at full speed it is chance whether the next
/// page is read before the last is gone, and the peak with it.
const SLOW_PAGES: usize = 5;

/// Takes `left` bytes, 4 KiB at a time.
async fn slowly(client: &mut Client, mut left: u64, hasher: &mut Sha256) -> Result<()> {
    while left > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let part = left.min(4096);
        client.body(part, hasher).await?;
        left -= part;
    }
    Ok(())
}

impl Subject for Export {
    fn service(&self) -> &Service {
        &self.service
    }

    fn operation(&self, _: u64) -> Operation {
        let (call, expected) = (self.service.call(), self.expected.get());
        Box::pin(async move {
            let mut client = call.begin();
            client.send(HEAD.as_bytes()).await?;
            client.answered().await;
            let length = client.any_head("200").await?;
            let mut hasher = Sha256::new();
            let mut left = length;
            for _ in 0..SLOW_PAGES {
                let page = match &mut left {
                    Some(left) => {
                        std::mem::replace(left, left.saturating_sub(PAGE as u64)).min(PAGE as u64)
                    }
                    None => client.chunk_begin().await?,
                };
                slowly(&mut client, page, &mut hasher).await?;
                if length.is_none() {
                    client.chunk_end().await?;
                }
            }
            match left {
                Some(left) => client.body(left, &mut hasher).await?,
                None => client.chunks(&mut hasher).await?,
            }
            let digest: Digest = hasher.finalize().into();
            ensure!(digest == expected, "other records came than there are");
            Ok(())
        })
    }

    // Each client has compared the digest.
    fn check(&self, _: usize, _: u64) -> Result<()> {
        Ok(())
    }
}

/// A client that vanishes with 100 KB read, between pages or within a query,
/// leaves nothing behind.
async fn retained(home: &Home) -> Result<[Sample; 2]> {
    // One connection, so that they all have the same: each keeps a buffer of 8 KiB
    // or more, by what it has read last, which is the pool's cost.
    let rig = home.build(&["--pool-connections", "1"]).await?;
    let (service, permits) = (rig.service(), rig.application.app.pages.clone());
    let before = permits.available_permits();
    let samples = measure::retained(&service, || {
        let call = service.call();
        Box::pin(async move { begin(call).await?.body(100_000, &mut Sha256::new()).await })
    });
    let samples = samples.await?;
    ensure!(permits.available_permits() == before, "aborted exports kept their permits");
    rig.end().await;
    Ok(samples)
}
