//! Audit: a queue of a fixed length; when the database stalls, events are dropped and
//! counted.
//!
//! **The twin**: `unbounded_channel`, and a task that writes.

use std::time::Duration;

use anyhow::{Result, ensure};
use meter::{Probe, Report, Sample};
use pattern::audit::{self, Event, cost};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::Case;
use crate::rig::service::quiet;
use crate::rig::{self, postgres};

pub const CASE: Case = Case {
    name: "audit",
    about: "events for a database that has stalled: a fixed length, drops counted",
    pattern: || rig::run(postgres::with(async |url| pattern(url).await)),
    twin: || rig::run(postgres::with(async |url| twin(url).await)),
};

const EVENTS: u64 = 1_000_000;

/// What is written at once: a batch, which has left the queue.
const BATCH: u64 = 1024;

async fn pattern(url: &str) -> Result<Report> {
    let (pool, file) = table(url).await?;
    let mut samples = Vec::new();
    for length in [1024, 4096, 16_384] {
        let held = Sample::new("held", vec![stalled(&pool, file, length).await?]);
        let metric = format!("unit_{}k", length / 1024);
        let share = held.clone().share_of(&metric, cost(length));
        samples.extend((length == 4096).then_some(held));
        samples.push(share);
    }
    pool.close().await;
    Ok(Report { samples })
}

async fn twin(url: &str) -> Result<Report> {
    let (pool, file) = table(url).await?;
    let (sender, mut receiver) = unbounded_channel::<Event>();
    let (tasks, writing) = (TaskTracker::new(), pool.clone());
    tasks.spawn(async move {
        let mut batch = Vec::new();
        while receiver.recv_many(&mut batch, 1024).await > 0 {
            // It waits for the lock, as the pattern's does.
            let _ = sqlx::query("SELECT count(*) FROM file_stats").execute(&writing).await;
            batch.clear();
        }
    });
    let record = |event| {
        let _ = sender.send(event);
    };
    let held = flood(&pool, record, file).await?;
    drop(sender);
    tasks.close();
    tasks.wait().await;
    pool.close().await;
    Ok(Report { samples: vec![Sample::new("held", vec![held])] })
}

/// A file that events are of.
async fn table(url: &str) -> Result<(PgPool, Uuid)> {
    let (pool, file) = (PgPool::connect(url).await?, Uuid::new_v4());
    sqlx::query(
        "INSERT INTO files (id, name, content_type, size, sha256)
         VALUES ($1, 'a', 'text/plain', 0, decode(repeat('00', 32), 'hex'))",
    )
    .bind(file)
    .execute(&pool)
    .await?;
    Ok((pool, file))
}

/// The most that a queue of `length` holds while the database has stalled.
async fn stalled(pool: &PgPool, file: Uuid, length: usize) -> Result<f64> {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let base = quiet().await?;
    let (queue, writer) = audit::queue(length);
    tasks.spawn(writer.run(pool.clone(), stop.clone()));
    let begun = quiet().await? - base;
    let held = flood(pool, |event| queue.record(event), file).await? + begun as f64;
    // The database is back: what was taken is written, what was not is counted.
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    let (written, dropped) = (queue.written(), queue.dropped());
    ensure!(written + dropped == EVENTS, "{written} written and {dropped} dropped");
    ensure!(written == length as u64 + BATCH, "{written} written: the queue was not full");
    Ok(held)
}

/// Records all events while a lock keeps the database from taking any, and returns the
/// peak, in bytes.
async fn flood(pool: &PgPool, record: impl Fn(Event), file_id: Uuid) -> Result<f64> {
    let mut lock = pool.begin().await?;
    sqlx::query("LOCK TABLE file_stats IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await?;
    quiet().await?;
    let probe = Probe::start();
    for number in 0..EVENTS {
        record(Event { file_id, at: OffsetDateTime::UNIX_EPOCH });
        // The writer takes what it can: its first batch stalls.
        if number % BATCH == BATCH - 1 {
            tokio::time::sleep(Duration::from_micros(1)).await;
        }
    }
    let peak = probe.read().peak;
    lock.rollback().await?;
    Ok(peak as f64)
}
