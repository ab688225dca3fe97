//! Pool: what connections keep between queries is small, whatever they have read.
//!
//! **What goes wrong**: a connection's read buffer keeps the size of the largest
//! row that it ever read; in a pool, each does in its turn, and keeps it for as
//! long as it lives. Shrinking it frees nothing before the next query.
//!
//! **The pattern**: `storage::pool`. Buffers are shrunk when a connection comes
//! back, before the pool's own ping, with which that takes effect.
//!
//! **The bound**: `storage::pool::cost()` a connection, the statements of the
//! service included.
//!
//! **The twin**: `PgPoolOptions::new().max_connections(8)`, as every tutorial has
//! it.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::TryStreamExt;
use meter::{Report, Sample};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use storage::files::{self, NewFile};
use storage::pool::cost;
use storage::{PoolSettings, pool};
use uuid::Uuid;

use super::{Case, Tier};
use crate::rig::application::Home;
use crate::rig::measure::{REPETITIONS, WARM_UPS};
use crate::rig::service::quiet;
use crate::rig::{self, MIB};

pub const CASE: Case = Case {
    name: "pool",
    tier: Tier::A,
    about: "pooled connections: what they keep is small, whatever they have read",
    pattern: || rig::run(Home::with(async |home| pattern(home).await)),
    twin: || rig::run(Home::with(async |home| twin(home).await)),
};

const CONNECTIONS: u32 = 8;

async fn pattern(home: &Home) -> Result<Report> {
    let url = home.url();
    let settings =
        PoolSettings { connections: CONNECTIONS, acquire_timeout: Duration::from_secs(10) };
    let connect = async || Ok(pool::connect(&url, settings).await?);
    let retained = measure("retained", connect, async |pool| large_rows(pool).await).await?;
    let unit = measure("unit", connect, async |pool| {
        service_queries(pool).await?;
        large_rows(pool).await
    });
    let unit = unit.await?.share_of("unit", CONNECTIONS as usize * cost());
    Ok(Report { samples: vec![retained, unit] })
}

async fn twin(home: &Home) -> Result<Report> {
    let url = home.url();
    let connect =
        async || Ok(PgPoolOptions::new().max_connections(CONNECTIONS).connect(&url).await?);
    let retained = measure("retained", connect, async |pool| large_rows(pool).await).await?;
    Ok(Report { samples: vec![retained] })
}

/// What a pool holds after `work`, with all its connections back.
async fn measure(
    metric: &str,
    connect: impl AsyncFn() -> Result<PgPool>,
    work: impl AsyncFn(&PgPool) -> Result<()>,
) -> Result<Sample> {
    let mut held = Vec::new();
    for repetition in 0..WARM_UPS + REPETITIONS {
        let before = quiet().await?;
        let pool = connect().await?;
        work(&pool).await?;
        while pool.num_idle() < CONNECTIONS as usize {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let live = quiet().await?;
        if repetition >= WARM_UPS {
            held.push(live as f64 - before as f64);
        }
        pool.close().await;
    }
    Ok(Sample::new(metric, held))
}

/// Each connection reads a row of 1 MiB; all come back.
async fn large_rows(pool: &PgPool) -> Result<()> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(pool.acquire().await?);
    }
    for connection in &mut connections {
        let row: String = sqlx::query_scalar("SELECT repeat('x', $1) LIMIT 1")
            .bind(i32::try_from(MIB)?)
            .fetch_one(&mut **connection)
            .await?;
        ensure!(row.len() as u64 == MIB, "a row of {} bytes", row.len());
    }
    Ok(())
}

/// Each connection prepares and runs every query of the service.
async fn service_queries(pool: &PgPool) -> Result<()> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(pool.acquire().await?);
    }
    for connection in &mut connections {
        let connection = &mut **connection;
        let id = Uuid::now_v7();
        let [name, content_type] = ["pool", "text/plain"].map(str::to_owned);
        let file = NewFile { id, name, content_type, size: 0, sha256: [0; 32] };
        files::insert(&mut *connection, &file).await?;
        ensure!(files::get(&mut *connection, id).await?.is_some(), "no record");
        ensure!(files::stats(&mut *connection, id).await?.is_some(), "no stats");
        ensure!(files::rename(&mut *connection, id, None, "x").await?.is_some(), "not renamed");
        let page: Vec<_> = files::page(&mut *connection, None, 100).try_collect().await?;
        ensure!(page.len() == 1, "{} records", page.len());
        let orphans = files::without_record(&mut *connection, &[id]).await?;
        ensure!(orphans.is_empty(), "the record is not seen");
        ensure!(files::delete(&mut *connection, id, None).await?, "not deleted");
    }
    Ok(())
}
