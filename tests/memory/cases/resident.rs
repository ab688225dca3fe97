//! Resident: what the release binary holds of the machine's memory, over TCP.
//!
//! **What goes wrong**: a limit is on resident memory, and a heap that is small again
//! need not be: an allocator keeps what was freed, in as many arenas as there were
//! threads, and it is the burst of last week that decides what a container needs.
//!
//! **The pattern**: bodies are streamed, so that the heap is never large; jemalloc with a
//! thread that gives back within a second, and few arenas (`server::MALLOC_CONF`).
//!
//! **The bound**: MiBs, whatever passes through; as before 5 s after a burst. And the
//! factor from heap to resident memory, which the plan uses for every term
//! (`budget::plan::HEAP_TO_RESIDENT_PERCENT`).
//!
//! **The twin**: the body as `Bytes`, the file read whole, and an allocator as it
//! comes: `tests/src/bin/naive.rs`.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use budget::plan::HEAP_TO_RESIDENT_PERCENT;
use futures_util::future::try_join_all;
use meter::{Report, Sample};
use tests::client::Client;
use tests::message::Request;

use super::{Case, Tier};
use crate::rig::application::Home;
use crate::rig::content::{Content, Digest, digest_of};
use crate::rig::process::Process;
use crate::rig::{self, MIB, rows};

pub const CASE: Case = Case {
    name: "resident",
    tier: Tier::C,
    about: "what the whole program holds of the machine's memory",
    pattern: || rig::run(Home::with(async |home| Box::pin(pattern(home)).await)),
    twin: || rig::run(Box::pin(twin())),
};

/// What passes through a cold process.
const SIZE: u64 = 256 * MIB;

/// Cold processes, of which the least counts.
const COLD: usize = 2;

/// Clients at once.
const BURST: usize = 64;

/// After a burst.
const LATER: Duration = Duration::from_secs(5);

/// Until a load has come to rest: an upload that has paused for a second gives its buffer
/// up, and the allocator gives that back to the system within two more.
const SETTLED: Duration = Duration::from_secs(4);

/// Until clients that left are noticed, on a busy machine.
const GONE: Duration = Duration::from_secs(20);

/// Records in the table: what an export reads, 50 pages.
const RECORDS: u64 = 5_000;

/// The service with places for the burst, and for what the factor is measured on.
fn service(home: &Home, program: impl AsRef<std::ffi::OsStr>) -> Result<Process> {
    let (url, folder) = (home.url(), home.folder().to_str().context("a folder's name")?);
    let arguments = [
        ["--database-url", &url],
        ["--content-dir", folder],
        ["--listen", "127.0.0.1:0"],
        ["--admin-listen", "127.0.0.1:0"],
        ["--memory-limit", "1GiB"],
        ["--max-pages", "64"],
        ["--max-downloads", "128"],
        ["--max-uploads", "64"],
        ["--max-requests", "256"],
        ["--max-connections", "256"],
        ["--max-encoders", "4"],
        ["--cache-size", "1MiB"],
        ["--pool-timeout", "30s"],
        ["--rate-limit-period", "1us"],
        ["--rate-limit-burst", "1000000"],
        ["--write-timeout", "5m"],
    ];
    Process::start(program, arguments.as_flattened(), &[])
}

async fn pattern(home: &Home) -> Result<Report> {
    let binary = std::env::var_os("SERVER_BIN").context(
        "SERVER_BIN is not set: `cargo xtask memtest` and `test` build the server, and set it",
    )?;
    let pool = storage::PgPool::connect(&home.url()).await?;
    rows::grow(&pool, RECORDS).await?;
    pool.close().await;

    let digest = Content::new().digest(SIZE);
    let (mut uploads, mut downloads) = (Vec::new(), Vec::new());
    for _ in 0..COLD {
        let process = service(home, &binary)?;
        let before = process.get("/readyz").await.and_then(|_| process.resident())?;
        let answer = process.upload(SIZE).await?;
        uploads.push(process.resident()?.peak as f64 - before.now as f64);
        drop(process);
        let path = answer.field("location").context("no location")?;
        ensure!(answer.text().contains(&hex(&digest)), "another content was stored");

        let process = service(home, &binary)?;
        let before = process.get("/readyz").await.and_then(|_| process.resident())?;
        let came = process.download(&format!("{path}/content"), SIZE).await?;
        downloads.push(process.resident()?.peak as f64 - before.now as f64);
        ensure!(came == digest, "another content came");
        delete(&process, path).await?;
    }
    let pages = Box::pin(after_burst(service(home, &binary)?, "/v1/files?limit=100"));
    let exports = Box::pin(after_burst(service(home, &binary)?, "/v1/files/export"));
    let (pages, exports) = futures_util::try_join!(pages, exports)?;
    Ok(Report {
        samples: vec![
            least("upload", &uploads),
            least("download", &downloads),
            Sample::new("after_pages", vec![pages]),
            Sample::new("after_exports", vec![exports]),
            Box::pin(factor(home)).await?,
        ],
    })
}

async fn twin() -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("content");
    let name = file.to_str().context("a folder's name")?;
    let digest = Content::new().digest(SIZE);
    let (mut uploads, mut downloads) = (Vec::new(), Vec::new());
    let naive = || Process::start(env!("CARGO_BIN_EXE_naive"), &["127.0.0.1:0", name], &[]);
    for _ in 0..COLD {
        let process = naive()?;
        let before = process.resident()?;
        process.upload(SIZE).await?;
        uploads.push(process.resident()?.peak as f64 - before.now as f64);
        ensure!(digest_of(&file)? == digest, "another content was stored");

        let process = naive()?;
        let before = process.resident()?;
        let came = process.download("/content", SIZE).await?;
        downloads.push(process.resident()?.peak as f64 - before.now as f64);
        ensure!(came == digest, "another content came");
    }
    Ok(Report { samples: vec![least("upload", &uploads), least("download", &downloads)] })
}

fn least(metric: &str, figures: &[f64]) -> Sample {
    let sample = Sample::new(metric, figures.to_vec());
    let note = format!(
        "the least of {COLD} cold processes; spread {:.2} MiB",
        sample.spread() / MIB as f64
    );
    Sample::new(metric, vec![sample.least()]).with_note(note)
}

fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn delete(process: &Process, path: &str) -> Result<()> {
    let mut client = process.connect().await?;
    client.request(&Request::delete(path)).await?;
    let status = client.response(false).await?.status;
    ensure!(status == 204, "delete: {status}");
    Ok(())
}

/// What is resident 5 s after many asked for `path` at once, above what was before
/// anybody did.
async fn after_burst(process: Process, path: &str) -> Result<f64> {
    process.get("/readyz").await?;
    let before = process.resident()?.now;
    let answers = try_join_all((0..BURST).map(|_| process.get(path))).await?;
    let first = &answers[0].body;
    ensure!(first.len() > 10_000, "{path}: {} bytes", first.len());
    ensure!(answers.iter().all(|answer| answer.body == *first), "{path}: answers differ");
    tokio::time::sleep(LATER).await;
    Ok(process.resident()?.now as f64 - before as f64)
}

/// Readers that stall while the factor is measured, and uploads that stop half-way: as many
/// as there are places.
const READERS: usize = 128;
const UPLOADS: usize = 64;

/// How often that load comes and goes: what it leaves in pieces, the next has to live
/// with.
const LOADS: usize = 3;

/// `heap_to_resident`: what is resident for what the heap was asked for, under load;
/// both above what they were in the cold process. Pages of the program's file are not
/// counted: the base has them. Stacks of threads that the load starts are, though the
/// plan has a term for them.
async fn factor(home: &Home) -> Result<Sample> {
    let process = service(home, env!("CARGO_BIN_EXE_counted"))?;
    process.get("/readyz").await?;
    let idle = last(&process)?;
    let stored = process.upload(4 * MIB).await?;
    let content = format!("{}/content", stored.field("location").context("no location")?);
    let (mut factors, mut notes) = (Vec::new(), Vec::new());
    for _ in 0..LOADS {
        let clients = load(&process, &content).await?;
        tokio::time::sleep(SETTLED).await;
        let loaded = last(&process)?;
        drop(clients);
        gone(&process, idle.0)?;
        let (live, resident) = (loaded.0 - idle.0, loaded.1 - idle.1);
        ensure!(live > 8.0 * MIB as f64, "the heap holds {live} B under load: too few to tell");
        factors.push(100.0 * resident / live);
        notes.push(format!("{:.1} for {:.1}", resident / MIB as f64, live / MIB as f64));
    }
    let note = format!(
        "MiB resident for MiB of heap: {}; the plan counts with {HEAP_TO_RESIDENT_PERCENT} %",
        notes.join(", ")
    );
    Ok(Sample::new("heap_to_resident", factors).with_note(note))
}

/// All the places of downloads and uploads, taken by clients that stop half-way.
async fn load(process: &Process, content: &str) -> Result<Vec<Client>> {
    let readers = try_join_all((0..READERS).map(|_| async {
        let mut client = Client::connect_narrow(process.address, 4096).await?;
        client.request(&Request::get(content)).await?;
        ensure!(client.head().await?.status == 200);
        Ok(client)
    }));
    let uploads = try_join_all((0..UPLOADS).map(|_| process.begin_upload(2 * MIB, 4 * MIB)));
    let (mut readers, uploads) = futures_util::try_join!(readers, uploads)?;
    readers.extend(uploads);
    Ok(readers)
}

/// Waits until what the clients of a load held is freed, and with it their places: the
/// next ones would be refused.
fn gone(process: &Process, idle: f64) -> Result<()> {
    let begin = Instant::now();
    while last(process)?.0 - idle > MIB as f64 {
        ensure!(begin.elapsed() < GONE, "after {GONE:?} the clients of a load are still held");
    }
    Ok(())
}

/// What the counting server has said last: heap, and resident.
fn last(process: &Process) -> Result<(f64, f64)> {
    while process.said.try_recv().is_ok() {}
    let line = process.said.recv_timeout(Duration::from_secs(1))?;
    let mut words = line.split(' ');
    let mut figure = |name: &str| -> Result<f64> {
        ensure!(words.next() == Some(name), "{line}");
        Ok(words.next().context("no figure")?.parse()?)
    };
    Ok((figure("live")?, figure("resident")?))
}
