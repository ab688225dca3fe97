//! Export: peak flat in the number of rows.
//!
//! **The twin**: `fetch_all`, then `to_string` for each.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use meter::Report;
use pattern::page::Form;
use pattern::pages::{Pages, ahead};
use pattern::shown::{Hex, Rfc3339};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;
use sqlx::postgres::{PgPool, PgRow};
use storage::{FileRecord, PoolSettings, pool};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::Case;
use crate::rig::content::Digest;
use crate::rig::measure::{self, Subject};
use crate::rig::{self, Operation, Service, postgres, rows};

pub const CASE: Case = Case {
    name: "export",
    about: "keyset pages, row by row: peak flat in rows",
    pattern: || rig::run(postgres::with(async |url| measured(url, false, &ROWS).await)),
    twin: || rig::run(postgres::with(async |url| measured(url, true, &FEW_ROWS).await)),
};

/// From a few pages to a thousand.
const ROWS: [u64; 3] = [1_000, 10_000, 100_000];

/// Enough for the twin, which takes 2 KiB a row.
const FEW_ROWS: [u64; 3] = [1_000, 10_000, 30_000];

const POOL: PoolSettings =
    PoolSettings { connections: 1, acquire_timeout: std::time::Duration::from_secs(5) };

async fn measured(url: &str, naive: bool, rows: &[u64]) -> Result<Report> {
    let (pool, idle) = (pool::connect(url, POOL).await?, Service::new(async |_| ()));
    let export = Export { pool, naive, idle, expected: Cell::default() };
    let samples = measure::peak_over_rows(&export, rows, async |count| {
        rows::grow(&export.pool, count).await?;
        export.expected.set(rows::digest(count, "\n", "\n"));
        Ok(())
    });
    let samples = samples.await?.into();
    export.pool.close().await;
    Ok(Report { samples })
}

struct Export {
    pool: PgPool,
    naive: bool,
    idle: Service,
    expected: Cell<Digest>,
}

impl Subject for Export {
    fn service(&self) -> &Service {
        &self.idle
    }

    fn operation(&self, _: u64) -> Operation {
        let (pool, naive, expected) = (self.pool.clone(), self.naive, self.expected.get());
        Box::pin(async move {
            let digest = if naive { all(&pool).await? } else { pages(&pool).await? };
            ensure!(digest == expected, "other records came");
            Ok(())
        })
    }

    fn check(&self, _: usize, _: u64) -> Result<()> {
        Ok(())
    }
}

/// A record a line, as JSON: the texts here need no escapes.
#[derive(Clone, Copy)]
struct Lines;

impl Form for Lines {
    fn row(&self, record: &FileRecord, page: &mut Vec<u8>, _: bool) {
        let (id, name, content_type) = (record.id, record.name(), record.content_type());
        let (size, sha256) = (record.size, Hex(&record.sha256));
        let [created, updated] = [record.created_at, record.updated_at].map(Rfc3339);
        // A Vec takes all.
        let _ = writeln!(
            page,
            r#"{{"id":"{id}","name":"{name}","content_type":"{content_type}","size":{size},"sha256":"{sha256}","created_at":"{created}","updated_at":"{updated}"}}"#
        );
    }
}

/// Page after page.
async fn pages(pool: &PgPool) -> Result<Digest> {
    let (mut hasher, tasks) = (Sha256::new(), TaskTracker::new());
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned()?;
    let mut pages = Box::pin(Pages::begin(pool, &tasks, &ahead(), Lines, permit)).await?;
    while let Some(page) = poll_fn(|cx| pages.poll_next(cx)).await {
        hasher.update(&page?);
    }
    Ok(hasher.finalize().into())
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

/// The same work as the pattern's.
async fn all(pool: &PgPool) -> Result<Digest> {
    let query = sqlx::query(
        r#"SELECT id, name, content_type, size, encode(sha256, 'hex') AS sha256,
                  to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS made,
                  to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS changed
           FROM files ORDER BY id DESC"#,
    );
    let rows = query.fetch_all(pool).await.context("the query")?;
    let record = |row: &PgRow| Record {
        id: row.get("id"),
        name: row.get("name"),
        content_type: row.get("content_type"),
        size: row.get("size"),
        sha256: row.get("sha256"),
        created_at: row.get("made"),
        updated_at: row.get("changed"),
    };
    let records: Vec<Record> = rows.iter().map(record).collect();
    let lines: Result<Vec<String>, _> = records.iter().map(serde_json::to_string).collect();
    Ok(Sha256::digest(lines?.join("\n") + "\n").into())
}
