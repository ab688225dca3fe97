//! Pool: what connections keep between queries is small, whatever they have read.
//!
//! **The twin**: `PgPoolOptions::new().max_connections(8)`.

use std::time::Duration;

use anyhow::{Result, ensure};
use meter::{Report, Sample};
use pattern::pool::{self, PoolSettings};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::Case;
use crate::rig::measure::{REPETITIONS, WARM_UPS};
use crate::rig::service::quiet;
use crate::rig::{self, MIB};

pub const CASE: Case = Case {
    name: "pool",
    about: "pooled connections: what they keep is small, whatever they have read",
    pattern: || rig::run(pattern()),
    twin: || rig::run(twin()),
};

const CONNECTIONS: u32 = 8;

fn url() -> Result<String> {
    let url = std::env::var("DATABASE_URL");
    url.map_err(|_| anyhow::anyhow!("DATABASE_URL: this test needs a Postgres"))
}

async fn pattern() -> Result<Report> {
    let url = url()?;
    let settings =
        PoolSettings { connections: CONNECTIONS, acquire_timeout: Duration::from_secs(10) };
    measure(async || Ok(pool::connect(&url, settings).await?)).await
}

async fn twin() -> Result<Report> {
    let url = url()?;
    let options = || PgPoolOptions::new().max_connections(CONNECTIONS);
    measure(async || Ok(options().connect(&url).await?)).await
}

/// `retained`: what a pool holds when each connection has read a row of 1 MiB, and all
/// are back.
async fn measure(connect: impl AsyncFn() -> Result<PgPool>) -> Result<Report> {
    let mut held = Vec::new();
    for _ in 0..WARM_UPS + REPETITIONS {
        let before = quiet().await?;
        let pool = connect().await?;
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
        drop(connections);
        while pool.num_idle() < CONNECTIONS as usize {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        held.push(quiet().await? as f64 - before as f64);
        pool.close().await;
    }
    Ok(Report { samples: vec![Sample::new("retained", held.split_off(WARM_UPS))] })
}
