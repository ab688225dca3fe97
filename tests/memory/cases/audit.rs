//! Audit: a queue of a fixed length; when the database stalls, events are
//! dropped and counted.
//!
//! **What goes wrong**: an unbounded channel takes events for as long as the
//! database does not: a lock that someone forgot becomes the service's memory.
//!
//! **The pattern**: `storage::audit`. A queue of a fixed length, a batch that is
//! tried again, and a count of what found no place.
//!
//! **The bound**: `storage::audit::cost(length)`, after any number of events.
//!
//! **The twin**: `unbounded_channel`, and a task that writes what comes out.

use std::time::Duration;

use anyhow::{Result, ensure};
use meter::{Probe, Report, Sample};
use sqlx::PgPool;
use storage::audit::{self, Event, cost};
use storage::files;
use time::OffsetDateTime;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{Case, Tier};
use crate::rig;
use crate::rig::application::{Home, Rig};
use crate::rig::measure::REPETITIONS;
use crate::rig::service::quiet;

pub const CASE: Case = Case {
    name: "audit",
    tier: Tier::A,
    about: "events for a database that has stalled: a fixed length, drops counted",
    pattern: || rig::run(Home::with(async |home| pattern(home).await)),
    twin: || rig::run(Home::with(async |home| twin(home).await)),
};

const EVENTS: u64 = 1_000_000;

/// What is written at once: a batch, which has left the queue.
const BATCH: u64 = 1024;

/// The service's default.
const LENGTH: usize = 4096;

async fn pattern(home: &Home) -> Result<Report> {
    let rig = home.build(&[]).await?;
    let (file, _) = rig.seed(0).await?;
    let mut repetitions = Vec::new();
    let mut note = String::new();
    for _ in 0..REPETITIONS {
        let (held, dropped) = stalled(&rig, file, LENGTH).await?;
        repetitions.push(held);
        note = format!("{dropped} of {EVENTS} events were dropped, and counted");
    }
    let mut samples = vec![Sample::new("held", repetitions).with_note(note)];
    for length in [1024, 4096, 16_384] {
        let (held, _) = stalled(&rig, file, length).await?;
        let name = format!("unit_{}k", length / 1024);
        samples.push(Sample::new("held", vec![held]).share_of(&name, cost(length)));
    }
    rig.end().await;
    Ok(Report { samples })
}

async fn twin(home: &Home) -> Result<Report> {
    let rig = home.build(&[]).await?;
    let (file, _) = rig.seed(0).await?;
    let pool = &rig.application.app.pool;
    let (tasks, before) = (TaskTracker::new(), downloads(pool, file).await?);
    #[expect(clippy::disallowed_methods, reason = "this is the twin's habit")]
    let (sender, mut receiver) = unbounded_channel::<Event>();
    let writing = pool.clone();
    tasks.spawn(async move {
        let mut batch = Vec::new();
        while receiver.recv_many(&mut batch, 1024).await > 0 {
            // Tried until it is written, like the pattern's.
            while add(&writing, &batch).await.is_err() {}
            batch.clear();
        }
    });
    let record = |event| {
        let _ = sender.send(event);
    };
    let held = flood(&rig, file, record).await?;
    drop(sender);
    tasks.close();
    tasks.wait().await;
    let written = downloads(pool, file).await? - before;
    ensure!(written == EVENTS, "{written} events were written of {EVENTS}");
    rig.end().await;
    Ok(Report { samples: vec![Sample::new("held", vec![held])] })
}

/// The most that a queue of `length` holds, with what writes it, while the
/// database has stalled; and how many events it dropped.
async fn stalled(rig: &Rig, file: Uuid, length: usize) -> Result<(f64, u64)> {
    let pool = &rig.application.app.pool;
    let before = downloads(pool, file).await?;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let base = quiet().await?;
    let (queue, writer) = audit::queue(length);
    tasks.spawn(writer.run(pool.clone(), stop.clone()));
    let begun = quiet().await? - base;
    let held = flood(rig, file, |event| queue.record(event)).await? + begun as f64;
    // The database is back: what was taken is written, what was not is counted.
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    let (written, dropped) = (queue.written(), queue.dropped());
    ensure!(written + dropped == EVENTS, "{written} written and {dropped} dropped");
    ensure!(written == length as u64 + BATCH, "{written} written: queue or batch was not full");
    let counted = downloads(pool, file).await? - before;
    ensure!(counted == written, "{counted} events in the database of {written}");
    Ok((held, dropped))
}

/// Records all events while a lock keeps the database from taking any, and
/// returns the peak, in bytes.
async fn flood(rig: &Rig, file: Uuid, record: impl Fn(Event)) -> Result<f64> {
    let pool = &rig.application.app.pool;
    let mut lock = pool.begin().await?;
    sqlx::query("LOCK TABLE file_stats IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await?;
    quiet().await?;
    let probe = Probe::start();
    for number in 0..EVENTS {
        record(Event { file_id: file, at: OffsetDateTime::UNIX_EPOCH });
        // The writer takes what it can: its first batch stalls.
        if number % BATCH == BATCH - 1 {
            tokio::time::sleep(Duration::from_micros(1)).await;
        }
    }
    let peak = probe.read().peak;
    lock.rollback().await?;
    Ok(peak as f64)
}

/// One row a file, however many events, as the pattern has it.
async fn add(pool: &PgPool, batch: &[Event]) -> Result<(), sqlx::Error> {
    let Some(Event { file_id, at }) = batch.first() else { return Ok(()) };
    sqlx::query(
        "INSERT INTO file_stats (file_id, downloads, last_downloaded_at) VALUES ($1, $2, $3)
         ON CONFLICT (file_id) DO UPDATE SET downloads = file_stats.downloads + excluded.downloads",
    )
    .bind(file_id)
    .bind(i64::try_from(batch.len()).unwrap_or(i64::MAX))
    .bind(at)
    .execute(pool)
    .await
    .map(drop)
}

async fn downloads(pool: &PgPool, file: Uuid) -> Result<u64> {
    let stats = files::stats(pool, file).await?;
    Ok(u64::try_from(stats.map_or(0, |stats| stats.downloads))?)
}
