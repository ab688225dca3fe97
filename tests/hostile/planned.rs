//! Every planned upload and download at once, in 64 MiB, with stalled readers
//! and idle connections up to the cap.

use std::io::Read as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use budget::{Kind, Mib, Term};
use libtest_mimic::Failed;
use meter::Group;
use server::counts::Counts;
use tests::Target;

use crate::chart;
use crate::content::{BLOCK, digest};
use crate::load::{self, connect, get};
use crate::scene::{Ground, LIMIT, Scene};
use crate::watch::{Watch, signed};

/// What each upload and download moves: 256 MiB, four times the limit.
const BLOCKS: u64 = (256 << 20) / BLOCK as u64;
/// Of the downloads, how many never read.
const STALLED: usize = 8;
/// Before and after it, so that what comes and goes is seen: longer than the allocator
/// keeps what was given back.
const CALM: Duration = Duration::from_secs(2);
/// The longest that a probe may take.
pub const PROBE: Duration = Duration::from_secs(1);

pub fn stays_under_the_load_line() -> Result<(), Failed> {
    // Stalled readers and idle connections stay for the whole run.
    let patient = ["--write-timeout=10m", "--idle-timeout=10m", "--upload-timeout=2m"];
    let mut scene = Scene::start(Ground::prepare(), &patient);
    let (address, counts) = (scene.target.address, scene.counts);
    println!("{}\nresident when idle: {}", scene.plan, Mib(scene.target.resident().now));

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
        Mib(scene.target.resident().peak)
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

    let load = || {
        thread::scope(|scope| {
            let uploads: Vec<_> = (0..counts.uploads)
                .map(|_| {
                    scope.spawn(|| match load::upload(address, BLOCKS) {
                        Ok((head, record)) if head.status == 201 && record.contains(&expected) => {
                            None
                        }
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
            clients.filter_map(|client| client.join().unwrap()).collect::<Vec<_>>()
        })
    };
    let ((failures, seconds), watch) = Watch::during(&scene, || {
        thread::sleep(CALM);
        let begin = Instant::now();
        let failures = load();
        let seconds = begin.elapsed().as_secs_f64();
        thread::sleep(CALM);
        (failures, seconds)
    });
    chart::draw(&watch, &scene.plan)?;
    assert!(scene.target.alive(), "the server died");
    assert!(failures.is_empty(), "{failures:?}");

    let terms = scene.plan.terms.iter().map(|term| in_use(*term, &counts));
    let (kernel, process): (Vec<_>, Vec<_>) = terms.partition(|term| term.kind == Kind::Kernel);
    let sum = |terms: &[Term]| terms.iter().map(Term::bytes).sum::<u64>();
    let (resident, sockets) = (watch.most(|at| at.resident), watch.most(|at| at.sockets));
    let residual = resident.cast_signed() - sum(&process).cast_signed();
    // What is on its way to 24 clients who read is in nobody's unit; idle connections
    // have places for more.
    let beyond = sockets.cast_signed() - sum(&kernel).cast_signed();
    let moved = (counts.uploads + downloads) as u64 * BLOCKS * BLOCK as u64;
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
    let rate = moved as f64 / f64::from(1 << 20) / seconds;
    println!(
        "{} uploads, {downloads} downloads, {STALLED} stalled readers, {rest} idle connections, {seconds:.1} s, {rate:.0} MiB/s\n\
         resident {} (of it anonymous {}), terms in use {}, residual {}, slack {}\n\
         sockets {}, terms in use {}, beyond them {}\n\
         slowest probe {:?}, failed probes {}",
        counts.uploads,
        Mib(resident),
        Mib(watch.most(|at| at.anonymous)),
        Mib(sum(&process)),
        signed(residual),
        Mib(scene.plan.slack()),
        Mib(sockets),
        Mib(sum(&kernel)),
        signed(beyond),
        watch.probe,
        watch.failed_probes,
    );
    if let Some(group) = &scene.group {
        assert_eq!(group.killed().unwrap(), 0);
    }
    let slack = scene.plan.slack().cast_signed();
    assert!(residual + beyond.max(0) <= slack, "over the load line by {}", signed(residual));
    assert!(watch.unexplained_sockets() <= 0, "sockets hold more than planned");
    assert_eq!(scene.metric("overload_changes_total")?, 0, "the gauge spoke");
    assert_eq!((watch.failed_probes, watch.failed_public), (0, 0));
    assert!(watch.probe <= PROBE, "a probe took {:?}", watch.probe);

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
    let Scene { target, ground, .. } = scene;
    let status = target.stop();
    assert!(status.success(), "it ended with {status}");
    assert_eq!(ground.staged(), 0, "staged files are left");
    Ok(())
}

/// As much of a term as this load uses: what it does not drive must not pay for
/// what it does.
fn in_use(term: Term, counts: &Counts) -> Term {
    let count = match term.name {
        "base" | "threads" | "uploads" | "upload buffers" | "downloads" | "large chunks"
        | "pooled connections" => term.count,
        "connections" => counts.connections as u64,
        // Idle connections have nothing unread, and nothing unsent.
        "sockets, received" | "sockets, uploads" => counts.uploads as u64,
        "sockets, unsent" => counts.downloads as u64,
        "requests" => (counts.uploads + counts.downloads) as u64,
        "pages" | "rows ahead" | "encoders" | "cache" | "verified" | "audit queue"
        | "rate limit" | "log" => 0,
        other => panic!("how much of the term {other} does this load use?"),
    };
    Term { count, ..term }
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
