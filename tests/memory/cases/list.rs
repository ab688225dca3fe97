//! List: a page of records costs the same, however many there are.
//!
//! **What goes wrong**: a `limit` that is the client's to choose is a buffer that
//! is the client's to choose: rows, structs and text, all of them at once.
//!
//! **The pattern**: `handler::list`. Keyset pages of at most 100 records, each row
//! written to the page as it comes.
//!
//! **The bound**: `handler::pages::cost()`, whatever the number of rows.
//!
//! **The twin**: the list of most tutorials: `limit` as the client sends it,
//! `fetch_all` into structs, `to_string`.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use handler::App;
use handler::pages::cost;
use meter::{Probe, Report, Sample};
use serde::{Deserialize, Serialize};
use server::connection;
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;
use storage::PgPool;
use uuid::Uuid;

use super::{Case, Tier};
use crate::rig::application::{HOST, Home, Rig, returned};
use crate::rig::content::Digest;
use crate::rig::measure::{self, Subject};
use crate::rig::{self, Operation, Service, rows};

pub const CASE: Case = Case {
    name: "list",
    tier: Tier::A,
    about: "a page of records: the same however many there are",
    pattern: || rig::run(Home::with(async |home| pattern(home).await)),
    twin: || rig::run(Home::with(async |home| twin(home).await)),
};

/// From a few pages to hundreds.
const ROWS: [u64; 3] = [1_000, 5_000, 20_000];

/// How many of a pool have grown their read buffers (32 KiB) and not yet shrunk
/// them would be chance, and is the pool's cost.
const ONE_CONNECTION: [&str; 2] = ["--pool-connections", "1"];

/// A record as JSON takes no more than this, in bytes.
const JSON: u64 = 400;

async fn pattern(home: &Home) -> Result<Report> {
    let rig = home.build(&ONE_CONNECTION).await?;
    let subject = List::new(&rig, rig.service(), |_| 100);
    let mut samples = subject.samples().await?;
    let in_flight = samples.last().cloned().context("no figure")?;
    let planned = connection::cost(rig.application.settings.buffer)
        + handler::admission::cost(rig.application.settings.buffer)
        + cost();
    samples.push(in_flight.share_of("plan_share", planned));
    rig.end().await;
    Ok(Report { samples })
}

async fn twin(home: &Home) -> Result<Report> {
    let rig = home.build(&ONE_CONNECTION).await?;
    let routes =
        Router::new().route("/v1/files", get(naive)).with_state(rig.application.app.clone());
    // Who finds no limit uses none.
    let subject = List::new(&rig, rig.twin(routes), |rows| rows);
    let samples = subject.samples().await?;
    rig.end().await;
    Ok(Report { samples })
}

#[derive(Deserialize)]
struct Params {
    limit: i64,
}

#[derive(Serialize)]
struct Files {
    files: Vec<Record>,
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

/// The same work as the pattern's: records, newest first.
async fn naive(
    State(app): State<Arc<App>>,
    Query(Params { limit }): Query<Params>,
) -> Result<impl IntoResponse, String> {
    let query = sqlx::query(
        r#"SELECT id, name, content_type, size, encode(sha256, 'hex') AS sha256,
                  to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS made,
                  to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS changed
           FROM files ORDER BY id DESC LIMIT $1"#,
    );
    #[expect(clippy::disallowed_methods, reason = "the habit that is shown")]
    let rows = query.bind(limit).fetch_all(&app.pool).await.map_err(|error| error.to_string())?;
    let record = |row: &sqlx::postgres::PgRow| Record {
        id: row.get("id"),
        name: row.get("name"),
        content_type: row.get("content_type"),
        size: row.get("size"),
        sha256: row.get("sha256"),
        created_at: row.get("made"),
        updated_at: row.get("changed"),
    };
    Ok(Json(Files { files: rows.iter().map(record).collect() }))
}

/// A client that wants every record, a page at a time, on one connection.
struct List {
    service: Service,
    pool: PgPool,
    /// How many it asks for at once, where there are so many.
    limit: fn(u64) -> u64,
    rows: Cell<u64>,
    expected: Cell<Digest>,
}

impl List {
    fn new(rig: &Rig, service: Service, limit: fn(u64) -> u64) -> Self {
        let pool = rig.application.app.pool.clone();
        Self { service, pool, limit, rows: Cell::default(), expected: Cell::default() }
    }

    /// `peak_slope`, `peak_segment`, `page` (the peak itself, where the table is
    /// largest) and `peak_per_concurrent`.
    async fn samples(&self) -> Result<Vec<Sample>> {
        self.grow(ROWS[0]).await?;
        let in_flight = measure::worst_per_concurrent(self).await?;
        let mut samples = Vec::from(
            measure::peak_over_rows(self, &ROWS, async |count| self.grow(count).await).await?,
        );
        let curve = samples[0].curve.as_ref();
        let last = curve.and_then(|curve| curve.points.last()).context("no curve")?.y;
        samples.push(Sample::new("page", vec![last]));
        samples.push(self.row_allocs().await?);
        samples.push(in_flight);
        Ok(samples)
    }

    /// `row_allocs`: what one more record in a page allocates, from 10 to 100, over
    /// several requests each. What is reallocated is the buffer of what the database
    /// sends, now in one piece more, now in one less: no record's.
    async fn row_allocs(&self) -> Result<Sample> {
        let mut client = self.service.call().begin();
        let mut page = vec![0; 128 * 1024];
        let mut allocs = async |limit: u64| -> Result<f64> {
            let head = format!("GET /v1/files?limit={limit} HTTP/1.1\r\n{HOST}\r\n");
            let probe = Probe::start();
            for _ in 0..PAGES {
                client.send(head.as_bytes()).await?;
                let length = usize::try_from(client.head("200").await?)?;
                ensure!(length <= page.len(), "a page of {length} bytes");
                client.body_into(&mut page[..length]).await?;
                returned(&self.pool).await;
            }
            Ok(probe.read().allocs as f64 / f64::from(PAGES))
        };
        allocs(100).await?;
        let mut each = Vec::new();
        for _ in 0..measure::REPETITIONS {
            each.push((allocs(100).await? - allocs(10).await?) / 90.0);
        }
        Ok(Sample::new("row_allocs", each))
    }

    async fn grow(&self, count: u64) -> Result<()> {
        rows::grow(&self.pool, count).await?;
        self.rows.set(count);
        self.expected.set(rows::digest(count, ",", ""));
        Ok(())
    }
}

/// Pages that are asked for, to count what each allocates.
const PAGES: u32 = 20;

/// So long that all clients in flight hold a page at the same time.
const HOLD: Duration = Duration::from_millis(20);

impl Subject for List {
    fn service(&self) -> &Service {
        &self.service
    }

    fn operation(&self, _: u64) -> Operation {
        let (call, expected, limit) =
            (self.service.call(), self.expected.get(), (self.limit)(self.rows.get()));
        // All that the client needs: its request, and a page.
        let mut head = String::with_capacity(256);
        let mut page = vec![0; usize::try_from((limit + 1) * JSON).unwrap_or_default()];
        Box::pin(async move {
            use std::fmt::Write as _;

            let mut client = call.begin();
            let mut hasher = Sha256::new();
            let mut after: Option<Uuid> = None;
            loop {
                head.clear();
                write!(head, "GET /v1/files?limit={limit}")?;
                if let Some(after) = after {
                    write!(head, "&after={after}")?;
                    hasher.update(",");
                }
                write!(head, " HTTP/1.1\r\n{HOST}\r\n")?;
                client.send(head.as_bytes()).await?;
                client.answered().await;
                if after.is_none() {
                    tokio::time::sleep(HOLD).await;
                }
                let length = usize::try_from(client.head("200").await?)?;
                ensure!(length <= page.len(), "a page of {length} bytes");
                let page = &mut page[..length];
                client.body_into(page).await?;
                let records = page.strip_prefix(b"{\"files\":[").context("another beginning")?;
                let end = records.iter().rposition(|byte| *byte == b']').context("no end")?;
                hasher.update(&records[..end]);
                match records[end..].strip_prefix(b"],\"next\":\"") {
                    Some(next) => after = Some(Uuid::try_parse_ascii(&next[..36])?),
                    None => break,
                }
            }
            ensure!(expected == <Digest>::from(hasher.finalize()), "other records came");
            Ok(())
        })
    }

    // Each client has compared the digest.
    fn check(&self, _: usize, _: u64) -> Result<()> {
        Ok(())
    }
}
