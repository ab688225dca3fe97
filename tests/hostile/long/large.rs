//! 10 GiB in and out of 64 MiB, beside 200 clients for whom there are 160 places; and
//! the same with nobody to enforce the limit, for comparison.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use budget::Mib;
use libtest_mimic::Failed;
use tests::{Client, Request, rows};

use super::UNLIMITED;
use crate::content::BLOCK;
use crate::load;
use crate::planned::PROBE;
use crate::scene::{Ground, Scene};
use crate::watch::{Watch, signed};

/// Of the file: 160 times the limit.
const BLOCKS: u64 = (10 << 30) / BLOCK as u64;

/// Parts that are asked for at once.
const RANGES: u64 = 16;

/// Clients with small requests.
const CLIENTS: u64 = 200;

/// Between two requests of one of them.
const PAUSE: Duration = Duration::from_millis(300);

/// Until one that was refused comes again.
const AGAIN: Duration = Duration::from_millis(200);

/// So often one with much to ask for comes again: for a minute.
const ATTEMPTS: u32 = 300;

/// In the table: more than the cache holds.
const RECORDS: u64 = 5_000;

pub fn ten_gib() -> Result<(), Failed> {
    let with = pass("in a group", Scene::start)?;
    let without = pass("without a group", Scene::without_group)?;
    println!(
        "in a group, of what it is without: upload {:.2}, download {:.2}",
        with.upload / without.upload,
        with.download / without.download
    );
    Ok(())
}

/// MiB a second.
struct Throughput {
    upload: f64,
    download: f64,
}

fn pass(name: &str, start: fn(Ground, &[&str]) -> Scene) -> Result<Throughput, Failed> {
    let ground = Ground::prepare();
    ground.plant(RECORDS);
    let mut scene = start(ground, &UNLIMITED);
    let address = scene.target.address;
    let small = Small::default();
    let (throughput, watch) = Watch::during(&scene, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        thread::scope(|scope| {
            let clients = (0..CLIENTS).map(|number| small.client(address, number));
            let clients = futures_util::future::try_join_all(clients);
            let clients = scope.spawn(|| runtime.block_on(clients));
            let throughput = through(address);
            small.done.store(true, Ordering::Relaxed);
            clients.join().unwrap()?;
            throughput
        })
    });
    assert!(scene.target.alive(), "{name}: the server died");
    let throughput = throughput.map_err(|error| format!("{name}: {error:#}"))?;
    let (served, refused) = (small.served.into_inner(), small.refused.into_inner());
    println!(
        "{name}: upload {:.0} MiB/s, download {:.0} MiB/s; small requests: {served} served, \
         {refused} refused; ceiling {}, peak {}, in use {}, residual {}, slack {}, sockets' {}, \
         slowest probe {} ms",
        throughput.upload,
        throughput.download,
        Mib(scene.plan.ceiling()),
        Mib(watch.peak()),
        Mib(watch.in_use()),
        signed(watch.residual()),
        Mib(scene.plan.slack()),
        signed(watch.unexplained_sockets()),
        watch.probe.as_millis(),
    );
    if let Some(term) = watch.exceeded() {
        return Err(format!("{name}: more is in use than there is: {term:?}").into());
    }
    assert!(watch.peak() <= scene.plan.ceiling(), "{name}: over the load line");
    let slack = scene.plan.slack().cast_signed();
    assert!(watch.residual() <= slack, "{name}: the plan does not explain it");
    assert!(watch.unexplained_sockets() <= 0, "{name}: sockets hold more than planned");
    assert_eq!(watch.failed_probes, 0, "{name}: probes failed");
    assert!(watch.probe <= PROBE, "{name}: a probe took {:?}", watch.probe);
    assert!(served > CLIENTS, "{name}: {served} small requests were served");
    if let Some(group) = &scene.group {
        assert_eq!(group.killed()?, 0, "{name}: the kernel killed it");
    }
    assert_eq!(scene.metric("overload_changes_total")?, 0, "{name}: the gauge spoke");
    let Scene { target, ground, .. } = scene;
    let status = target.stop();
    assert!(status.success(), "it ended with {status}");
    assert_eq!(ground.staged(), 0, "staged files are left");
    Ok(throughput)
}

/// Uploads it, and reads it back in parts.
fn through(address: SocketAddr) -> Result<Throughput> {
    let begin = Instant::now();
    let (head, record) = insist(|| match load::upload(address, BLOCKS)? {
        (head, _) if head.status == 503 => Ok(None),
        answer => Ok(Some(answer)),
    })?;
    ensure!(head.status == 201, "upload: {} {record}", head.status);
    let path = format!("{}/content", head.header("location").context("no location")?);
    let upload = rate(begin);

    let begin = Instant::now();
    thread::scope(|scope| {
        let part = |part| BLOCKS / RANGES * part..BLOCKS / RANGES * (part + 1);
        let path = &path;
        let readers: Vec<_> = (0..RANGES)
            .map(|number| scope.spawn(move || read(address, path, part(number))))
            .collect();
        readers.into_iter().try_for_each(|reader| reader.join().unwrap())
    })?;
    Ok(Throughput { upload, download: rate(begin) })
}

/// Reads these blocks, each of which has to be what it was.
fn read(address: SocketAddr, path: &str, blocks: Range<u64>) -> Result<()> {
    let (head, mut stream) = insist(|| match load::range(address, path, &blocks) {
        Ok((head, _)) if head.status == 503 => Ok(None),
        // At the cap, one of those that have brought no head yet is closed.
        Err(_) => Ok(None),
        Ok(answer) => Ok(Some(answer)),
    })?;
    ensure!(head.status == 206, "part {blocks:?}: {}", head.status);
    load::compare(&mut stream, blocks.clone()).with_context(|| format!("part {blocks:?}"))
}

/// Asks until there is a place.
fn insist<T>(ask: impl Fn() -> Result<Option<T>>) -> Result<T> {
    for _ in 0..ATTEMPTS {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        thread::sleep(AGAIN);
    }
    bail!("no place in {ATTEMPTS} attempts")
}

#[expect(clippy::cast_precision_loss, reason = "it is shown without a fraction")]
fn rate(begin: Instant) -> f64 {
    ((BLOCKS * BLOCK as u64) >> 20) as f64 / begin.elapsed().as_secs_f64()
}

/// What became of small requests.
#[derive(Default)]
struct Small {
    done: AtomicBool,
    served: AtomicU64,
    refused: AtomicU64,
}

impl Small {
    /// Asks now and then, on one connection as long as that is left to it.
    async fn client(&self, address: SocketAddr, number: u64) -> Result<()> {
        let mut round = number;
        let mut kept = None;
        while !self.done.load(Ordering::Relaxed) {
            let request = match round % 4 {
                0 => Request::get("/v1/files?limit=5"),
                1 => Request::get("/livez"),
                _ => Request::get(format!("/v1/files/{}", rows::id(round * 7919 % RECORDS + 1))),
            };
            let mut client = match kept.take() {
                Some(client) => Some(client),
                None => Client::connect(address).await.ok(),
            };
            let answer = match &mut client {
                Some(client) => client.exchange(&request).await.ok(),
                None => None,
            };
            let pause = match answer {
                Some(answer) if answer.status == 200 => {
                    self.served.fetch_add(1, Ordering::Relaxed);
                    let closes = answer.field("connection") == Some("close");
                    kept = client.filter(|_| !closes);
                    PAUSE
                }
                // There is no place, or the connection was closed for another.
                Some(answer) if answer.status != 503 => {
                    bail!("a small request: {} {}", answer.status, answer.text())
                }
                _ => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    AGAIN
                }
            };
            tokio::time::sleep(pause).await;
            round += 1;
        }
        Ok(())
    }
}
