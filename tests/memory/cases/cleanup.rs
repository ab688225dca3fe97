//! Cleanup: an upload that breaks off leaves nothing: no byte of memory, no staged
//! file, no place, no connection to the database, nothing of the quota.
//!
//! **What goes wrong**: a client that leaves ends its handler where that waits, and
//! whatever was to be given back at the end is not: the end never comes. Each
//! abort keeps a file, a place, an entry, until there are none left.
//!
//! **The pattern**: what is taken is a guard, which gives it back when it is
//! dropped: `streaming::StagedFile` with the permit and the reservation in it.
//!
//! **The bound**: 0 of each, wherever the client leaves: within the head, before
//! the body, within it, within a form's part, while the file is synced, before its
//! record is made.
//!
//! **The twin**: the handler as it reads best, top to bottom: take, receive,
//! rename, insert, give back. Errors are cleaned up after; a client that leaves is
//! no error.

mod naive;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::routing::post;
use futures_util::TryStreamExt;
use handler::App;
use meter::{Report, Sample};
use storage::files;
use uuid::Uuid;

use self::naive::{Naive, lock, receive};
use super::{Case, Tier};
use crate::rig::application::{HOST, Home, Rig};
use crate::rig::{self, MIB, Operation, Service, measure};

pub const CASE: Case = Case {
    name: "cleanup",
    tier: Tier::A,
    about: "an upload that breaks off leaves nothing, wherever it does",
    pattern: || rig::run(Home::with(async |home| Box::pin(pattern(home)).await)),
    twin: || rig::run(Home::with(async |home| Box::pin(twin(home)).await)),
};

/// Where a client leaves, in the order of an upload.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Head,
    BeforeBody,
    Body,
    /// Of a form.
    Part,
    /// All is sent, and is written and synced: a file with a record comes of it, or
    /// nothing.
    Sync,
    /// The file is in place, and its record waits for a connection to the database.
    BeforeRecord,
}

/// Those in which the client alone decides: they can be driven by the thousand.
const BY_CLIENT: [Phase; 5] =
    [Phase::Head, Phase::BeforeBody, Phase::Body, Phase::Part, Phase::Sync];

/// What an upload takes, as far as it is not memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taken {
    staged: usize,
    places: usize,
    connections: usize,
    quota: u64,
}

/// What is taken at this moment.
type Count<'a> = dyn Fn() -> Result<Taken> + 'a;

async fn pattern(home: &Home) -> Result<Report> {
    // One pooled connection, so that it can be taken away.
    let rig = home.build(&["--pool-connections", "1", "--pool-timeout", "30s"]).await?;
    let app = &rig.application.app;
    let places = app.uploads.available_permits();
    let taken = || {
        Ok(Taken {
            staged: rig.staged()?,
            places: places - app.uploads.available_permits(),
            connections: app.pool.size() as usize - app.pool.num_idle(),
            quota: app.store.quota().used(),
        })
    };
    let service = rig.service();
    let mut samples = counts(&rig, &service, &taken).await?;
    samples.extend(retained(app, &service, ROUNDS).await?);
    rig.end().await;
    Ok(Report { samples })
}

async fn twin(home: &Home) -> Result<Report> {
    let rig = home.build(&["--pool-connections", "1", "--pool-timeout", "30s"]).await?;
    let naive = Arc::new(Naive {
        url: home.url(),
        content: rig.content(),
        places: AtomicU64::new(0),
        quota: AtomicU64::new(0),
        made: AtomicU64::new(0),
        idle: Mutex::default(),
        progress: Mutex::default(),
    });
    let routes = Router::new().route("/v1/files", post(receive)).with_state(naive.clone());
    let service = rig.twin(routes);
    let taken = || {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let idle = lock(&naive.idle).len();
        Ok(Taken {
            staged: rig.staged()?,
            places: usize::try_from(count(&naive.places))?,
            connections: usize::try_from(count(&naive.made))? - idle,
            quota: count(&naive.quota),
        })
    };
    let mut samples = counts(&rig, &service, &taken).await?;
    samples.extend(retained(&rig.application.app, &service, FEW_ROUNDS).await?);
    rig.end().await;
    Ok(Report { samples })
}

/// `staged`, `places`, `connections`, `quota`: what is taken after an abort in
/// every phase that was not before; what is at rest has no other reason to be.
async fn counts(rig: &Rig, service: &Service, taken: &Count<'_>) -> Result<Vec<Sample>> {
    whole(service).await?; // warms up, and shows that it works
    clear(&rig.application.app).await?;
    let mut left = Vec::new();
    for _ in 0..measure::REPETITIONS {
        service.rest().await?;
        let before = taken()?;
        for phase in BY_CLIENT {
            abort(service, phase).await?;
            service.rest().await?;
        }
        before_record(rig, service).await?;
        clear(&rig.application.app).await?;
        service.rest().await?;
        left.push((before, taken()?));
    }
    let sample = |metric, of: fn(&Taken) -> f64| {
        let above = |(before, after): &(Taken, Taken)| of(after) - of(before);
        Sample::new(metric, left.iter().map(above).collect())
    };
    Ok(vec![
        sample("staged", |taken| taken.staged as f64),
        sample("places", |taken| taken.places as f64),
        sample("connections", |taken| taken.connections as f64),
        sample("quota", |taken| taken.quota as f64),
    ])
}

/// Half of it is what a client sends that leaves within the body, in bytes: a
/// buffer was written, and the next is half full.
const SIZE: u64 = 400 * 1024;

/// The head that a client sends in this phase, or begins to.
fn head(phase: Phase) -> String {
    let raw = "POST /v1/files?name=memory HTTP/1.1\r\n";
    match phase {
        Phase::Head => raw.to_owned(),
        Phase::Part => format!(
            "POST /v1/files HTTP/1.1\r\n{HOST}content-length: {}\r\n\
             content-type: multipart/form-data; boundary=b\r\n\r\n\
             --b\r\ncontent-disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n",
            2 * MIB
        ),
        _ => format!("{raw}{HOST}content-length: {SIZE}\r\n\r\n"),
    }
}

fn abort(service: &Service, phase: Phase) -> Operation {
    let (call, head) = (service.call(), head(phase));
    let part = match phase {
        Phase::Head | Phase::BeforeBody => 0,
        Phase::Body | Phase::Part => SIZE / 2,
        Phase::Sync | Phase::BeforeRecord => SIZE,
    };
    Box::pin(async move {
        let mut client = call.begin();
        client.send(head.as_bytes()).await?;
        client.send_content(part, SIZE).await?;
        // Until the service has taken it in, and waits for more.
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
        Ok(())
    })
}

/// Rounds of aborts in each block of a measurement: 2,500 aborts, and 250 for the
/// twin, which leaves files and connections.
const ROUNDS: usize = 500;
const FEW_ROUNDS: usize = 50;

/// What an abort keeps in memory.
async fn retained(app: &Arc<App>, service: &Service, rounds: usize) -> Result<[Sample; 2]> {
    let warm_ups = 10 * measure::WARM_UPS;
    let aborts = || aborts(app.clone(), service.clone());
    measure::retained_over(service, warm_ups, rounds, BY_CLIENT.len(), aborts).await
}

/// One after the other, each on a connection of its own; then what came of the last is
/// deleted.
fn aborts(app: Arc<App>, service: Service) -> Operation {
    let aborts = BY_CLIENT.map(|phase| abort(&service, phase));
    Box::pin(async move {
        for abort in aborts {
            abort.await?;
        }
        service.closed().await;
        clear(&app).await
    })
}

/// A client that has sent everything and stays for the answer.
fn whole(service: &Service) -> Operation {
    let (call, head) = (service.call(), head(Phase::Body));
    Box::pin(async move {
        let mut client = call.begin();
        client.send(head.as_bytes()).await?;
        client.send_content(SIZE, SIZE).await?;
        let record = client.head("201").await?;
        client.whole_body(record).await.map(drop)
    })
}

/// A client that leaves when its file is in place and its record waits for a
/// connection to the database, which comes only then.
async fn before_record(rig: &Rig, service: &Service) -> Result<()> {
    let app = &rig.application.app;
    let files = || Ok::<_, std::io::Error>(std::fs::read_dir(rig.content())?.count());
    let before = files()?;
    let held = app.pool.acquire().await?;
    let (call, head) = (service.call(), head(Phase::BeforeRecord));
    let mut client = call.begin();
    client.send(head.as_bytes()).await?;
    client.send_content(SIZE, SIZE).await?;
    for _ in 0..1_000 {
        if files()? > before {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    ensure!(files()? > before, "the content does not come into its place");
    drop(client);
    service.closed().await;
    drop(held);
    // The record is made, or its content is removed; either ends in a while.
    for _ in 0..1_000 {
        if records(app).await?.len() == files()? {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    // The twin's stays: it is counted.
    Ok(())
}

async fn records(app: &App) -> Result<Vec<Uuid>> {
    let records: Vec<_> = files::page(&app.pool, None, 1_000).try_collect().await?;
    Ok(records.iter().map(|record| record.id).collect())
}

/// Deletes what was stored whole, as a client would.
async fn clear(app: &App) -> Result<()> {
    for id in records(app).await? {
        let permit = app.removals.clone().try_acquire_owned().context("a removal")?;
        ensure!(files::delete(&app.pool, id, None).await?, "the record is gone");
        app.records.forget(id).await;
        app.store.remove(id, permit).await?;
    }
    Ok(())
}
