//! Every planned upload and download at once, in 64 MiB, with stalled readers
//! and idle connections up to the cap.

use std::io::Read as _;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use budget::plan::SLACK_PERCENT;
use budget::{Kind, Mib, Term};
use clap::Parser;
use libtest_mimic::Failed;
use meter::Group;
use server::counts::Counts;
use server::plan::LoadLine;
use tests::database::Scratch;
use tests::{Target, server_binary};

use crate::content::{BLOCK, digest};
use crate::gauge::metric;
use crate::load::{self, connect, get};

/// The limit, in bytes.
pub const LIMIT: u64 = 64 << 20;
/// What each upload and download moves: 256 MiB, four times the limit.
const BLOCKS: u64 = (256 << 20) / BLOCK as u64;
/// Of the downloads, how many never read.
const STALLED: usize = 8;
/// The longest that a probe may take.
const PROBE: Duration = Duration::from_secs(1);

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    config: server::Config,
}

/// A database and a folder of their own, on a disk.
pub struct Ground {
    runtime: tokio::runtime::Runtime,
    database: Option<Scratch>,
    folder: tempfile::TempDir,
}

impl Ground {
    pub fn prepare() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let database = runtime.block_on(Scratch::create()).unwrap();
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut migrate = Command::new(server_binary());
        let status = migrate.arg("migrate").env("DATABASE_URL", database.url()).status().unwrap();
        assert!(status.success(), "migrate: {status}");
        Self { runtime, database: Some(database), folder }
    }

    /// The server, on them.
    pub fn command(&self, group: Option<&Group>) -> Command {
        let mut command = match group {
            Some(group) => group.command(server_binary()),
            None => Command::new(server_binary()),
        };
        command
            .env("DATABASE_URL", self.database.as_ref().unwrap().url())
            .env("CONTENT_DIR", self.folder.path())
            .env("LISTEN", "127.0.0.1:0")
            .env("ADMIN_LISTEN", "127.0.0.1:0");
        command
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some(database) = self.database.take() {
            let _ = self.runtime.block_on(database.drop());
        }
    }
}

/// The highest values seen while it runs.
#[derive(Clone, Copy, Default)]
struct Peak {
    resident: u64,
    anonymous: u64,
    sockets: u64,
    together: u64,
    probe: Duration,
    failed_probes: usize,
}

pub fn stays_under_the_load_line() -> Result<(), Failed> {
    let group = Group::create(LIMIT);
    let ground = Ground::prepare();
    let mut command = ground.command(group.as_ref().ok());
    // Stalled readers and idle connections stay for the whole run.
    command.args(["--write-timeout=10m", "--idle-timeout=10m", "--upload-timeout=2m"]);
    match &group {
        Ok(group) => println!("in a control group (version {}) of {}", group.version(), Mib(LIMIT)),
        Err(error) => {
            println!("no control group ({error}): resident memory is judged against MEMORY_LIMIT");
            command.env("MEMORY_LIMIT", LIMIT.to_string());
        }
    }
    let mut target = Target::start(command);
    let idle = target.resident().now;
    let address = target.address;

    let config = Cli::parse_from(["server"]).config;
    let limit = budget::Limit { bytes: LIMIT, source: budget::Source::ControlGroup };
    let LoadLine { counts, plan } = LoadLine::fit(&config, limit);
    println!("{plan}\nresident when idle: {}", Mib(idle));

    // One file first, which the downloads read.
    let expected = digest(BLOCKS);
    let begin = Instant::now();
    let (head, record) = load::upload(address, BLOCKS)?;
    assert_eq!(head.status, 201, "{record}");
    assert!(record.contains(&expected), "{record}");
    let path = format!("{}/content", head.header("location").unwrap());
    println!(
        "one upload: {:.1} s; peak {}",
        begin.elapsed().as_secs_f64(),
        Mib(target.resident().peak)
    );

    let stalled: Vec<_> =
        (0..STALLED).map(|_| load::stall(address, &path)).collect::<Result<_, _>>()?;
    assert!(stalled.iter().all(|(head, _)| head.status == 200));
    let downloads = counts.downloads - STALLED;
    // All the other places, but for a few that the probe and refusals need.
    let rest = counts.connections - counts.uploads - counts.downloads - 4;
    let mut idlers: Vec<TcpStream> =
        (0..rest).map(|_| connect(address)).collect::<Result<_, _>>()?;
    for idler in &mut idlers {
        get(idler, "/livez")?;
    }

    let done = AtomicBool::new(false);
    let peak = Mutex::new(Peak::default());
    let begin = Instant::now();
    let failures: Vec<String> = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&target, group.as_ref().ok(), &peak, &done));
        let uploads: Vec<_> = (0..counts.uploads)
            .map(|_| {
                scope.spawn(|| match load::upload(address, BLOCKS) {
                    Ok((head, record)) if head.status == 201 && record.contains(&expected) => None,
                    Ok((head, body)) => Some(format!("upload: {} {body}", head.status)),
                    Err(error) => Some(format!("upload: {error}")),
                })
            })
            .collect();
        let downloads: Vec<_> = (0..downloads)
            .map(|_| {
                scope.spawn(|| match load::download(address, &path, BLOCKS) {
                    Ok(head) if head.status == 200 => None,
                    Ok(head) => Some(format!("download: {}", head.status)),
                    Err(error) => Some(format!("download: {error}")),
                })
            })
            .collect();
        let clients = uploads.into_iter().chain(downloads);
        let failures = clients.filter_map(|client| client.join().unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap();
        failures
    });
    let seconds = begin.elapsed().as_secs_f64();
    assert!(target.alive(), "the server died");
    assert!(failures.is_empty(), "{failures:?}");

    let peak = *peak.lock().unwrap();
    let mut terms: Vec<Term> = plan.terms.iter().map(|term| in_use(*term, &counts)).collect();
    if group.is_err() && target.sockets().is_none() {
        println!("sockets are neither measured nor counted as in use: there is no `ss` (iproute2)");
        terms.retain(|term| term.kind != Kind::Kernel);
    }
    let in_use: u64 = terms.iter().map(Term::bytes).sum();
    let moved = (counts.uploads + downloads) as u64 * BLOCKS * BLOCK as u64;
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
    let rate = moved as f64 / f64::from(1 << 20) / seconds;
    let residual = i128::from(peak.together) - i128::from(in_use);
    println!(
        "{} uploads, {downloads} downloads, {STALLED} stalled readers, {rest} idle connections, {seconds:.1} s, {rate:.0} MiB/s\n\
         terms in use {}, measured {} (resident {}, of it anonymous {}; sockets {}), residual {} KiB, slack {}\n\
         slowest probe {:?}, failed probes {}",
        counts.uploads,
        Mib(in_use),
        Mib(peak.together),
        Mib(peak.resident),
        Mib(peak.anonymous),
        Mib(peak.sockets),
        residual / 1024,
        Mib(LIMIT / 100 * SLACK_PERCENT),
        peak.probe,
        peak.failed_probes,
    );
    if let Ok(group) = &group {
        assert_eq!(group.killed().unwrap(), 0);
    }
    assert!(residual <= i128::from(plan.slack()), "over the load line by {residual} bytes");
    assert_eq!(metric(&target, "overload_changes_total")?, 0, "the gauge spoke");
    assert_eq!(peak.failed_probes, 0);
    assert!(peak.probe <= PROBE, "a probe took {:?}", peak.probe);

    // A stalled reader that wakes up gets every byte.
    for (_, mut stream) in stalled.into_iter().take(1) {
        let mut left = BLOCKS * BLOCK as u64;
        let mut buffer = vec![0; BLOCK];
        while left > 0 {
            let read = stream.read(&mut buffer)?;
            assert!(read > 0, "{left} bytes are missing");
            left -= read as u64;
        }
    }
    drop(idlers);
    let status = target.stop();
    assert!(status.success(), "it ended with {status}");
    let staged = std::fs::read_dir(ground.folder.path().join("staging"))?.count();
    assert_eq!(staged, 0, "staged files are left");
    Ok(())
}

/// As much of a term as this load uses: what it does not drive must not pay for
/// what it does.
fn in_use(term: Term, counts: &Counts) -> Term {
    let count = match term.name {
        "base" | "threads" | "uploads" | "upload buffers" | "downloads" | "pooled connections" => {
            term.count
        }
        "connections" => counts.connections as u64,
        // Idle connections have nothing unread, and nothing unsent.
        "sockets, received" => counts.uploads as u64,
        "sockets, unsent" => counts.downloads as u64,
        "requests" => (counts.uploads + counts.downloads) as u64,
        "pages" | "rows ahead" | "encoders" | "cache" | "audit queue" | "rate limit" | "log" => 0,
        other => panic!("how much of the term {other} does this load use?"),
    };
    Term { count, ..term }
}

/// Samples until `done`: what the server holds, and how fast it answers.
fn watch(target: &Target, group: Option<&Group>, peak: &Mutex<Peak>, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        let resident = target.resident().now;
        let anonymous =
            group.map_or_else(|| target.resident().anonymous, |group| group.anonymous().unwrap());
        let sockets = match group {
            Some(group) => group.sockets().unwrap(),
            None => target.sockets().unwrap_or(0),
        };
        let probe = load::probe(target.address);
        let mut peak = peak.lock().unwrap();
        peak.resident = peak.resident.max(resident);
        peak.anonymous = peak.anonymous.max(anonymous);
        peak.sockets = peak.sockets.max(sockets);
        peak.together = peak.together.max(resident + sockets);
        match probe {
            Ok(took) => peak.probe = peak.probe.max(took),
            Err(_) => peak.failed_probes += 1,
        }
        drop(peak);
        thread::sleep(Duration::from_millis(100));
    }
}

pub fn naive_twin_is_killed() -> Result<(), Failed> {
    let group = match Group::create(LIMIT) {
        Ok(group) => group,
        Err(error) => {
            println!("not run: no control group ({error})");
            return Ok(());
        }
    };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut command = group.command(env!("CARGO_BIN_EXE_naive"));
    command.arg("127.0.0.1:0").arg(folder.path().join("content"));
    let mut target = Target::start(command);
    let upload = load::upload(target.address, BLOCKS);
    let ended = target.ended(Duration::from_secs(20));
    println!(
        "one upload to the naive twin: {:?}; it ended: {ended:?}",
        upload.map(|(head, _)| head.status)
    );
    assert!(ended.is_some_and(|status| !status.success()), "it survived");
    assert_eq!(group.killed().unwrap(), 1);
    Ok(())
}
