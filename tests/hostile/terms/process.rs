//! What is there whoever comes: the process, its threads, its database connections.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::stage::{Driven, NOT_ASKED, Stage};
use super::wire::{self, Wire};

/// What each of several uploads at once stores, in bytes: more than it has buffers for.
const UPLOAD: usize = 2 << 20;

/// Until the allocator has given back what nobody uses, and before an idle thread ends
/// (10 s).
const DECAY: Duration = Duration::from_secs(3);

/// Until all that wait for a lock do.
const GATHER: Duration = Duration::from_millis(300);

/// The server's connections: all but the one that asks.
const CONNECTED: &str = "SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// Every thread has worked.
pub fn base_and_threads(stage: &mut Stage) -> Result<Driven> {
    // From nothing: it was there before anybody came.
    let threads = stage.count("threads");
    let barrier = Barrier::new(stage.count("uploads"));
    let address = stage.address();
    let statuses = thread::scope(|scope| {
        let upload = || {
            scope.spawn(|| {
                let mut client = Wire::open(address)?;
                barrier.wait();
                client.upload(UPLOAD)
            })
        };
        let uploads: Vec<_> = (0..stage.count("uploads")).map(|_| upload()).collect();
        uploads.into_iter().map(|upload| upload.join().unwrap()).collect::<Result<Vec<_>>>()
    })?;
    thread::sleep(DECAY);
    stage.begin()?;
    stage.look()?;
    let working = stage.threads("tokio-rt-worker")?;
    ensure!(working == threads, "{working} threads of {threads}");
    Ok(Driven {
        held: Box::new(statuses),
        driven: vec![("base", 1), ("threads", threads as u64)],
        beside: vec![],
        told: NOT_ASKED.to_owned(),
    })
}

/// Each connection of the pool has run every query.
pub fn pool(stage: &mut Stage) -> Result<Driven> {
    let count = stage.count("pooled connections");
    let mut clients = Vec::new();
    let mut records = Vec::new();
    for _ in 1..count {
        let mut client = Wire::open(stage.address())?;
        records.push(client.upload(1)?);
        clients.push(client);
    }
    let before = stage.database.number(CONNECTED)?;
    stage.begin()?;
    let rename = "{\"name\":\"other\"}";
    let length = rename.len().to_string();
    let fields = [("content-type", "application/json"), ("content-length", &length)];
    let upload = |_: &String| wire::request("POST", "/v1/files?name=a", &[("content-length", "0")]);
    let ask: [&dyn Fn(&String) -> String; 6] = [
        &upload,
        &|record| wire::get(record),
        &|record| wire::get(&format!("{record}/stats")),
        &|_| wire::get("/v1/files"),
        &|record| wire::request("PATCH", record, &fields) + rename,
        &|record| wire::request("DELETE", record, &[]),
    ];
    for ask in ask {
        // All at once: each waits on a connection of its own.
        let lock = stage.database.lock("files, file_stats")?;
        for (client, record) in clients.iter_mut().zip(&records) {
            client.send(ask(record))?;
        }
        thread::sleep(GATHER);
        drop(lock);
        for client in &mut clients {
            let head = client.head()?;
            ensure!((200..300).contains(&head.status), "{}", head.status);
            let length = head.field("content-length").and_then(|length| length.parse().ok());
            client.take(length.unwrap_or(0))?;
        }
        stage.look()?;
    }
    let now = stage.database.number(CONNECTED)?;
    ensure!(now == count as u64, "{now} connections of {count}");
    Ok(Driven {
        held: Box::new(clients),
        driven: vec![("pooled connections", now - before)],
        beside: vec![],
        told: NOT_ASKED.to_owned(),
    })
}
