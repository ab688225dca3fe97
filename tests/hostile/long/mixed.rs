//! A million requests of every kind: what is held at rest is the same after each tenth.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use budget::Mib;
use libtest_mimic::Failed;
use tests::{Client, Request, Response, rows};
use tokio::sync::Semaphore;

use super::UNLIMITED;
use crate::scene::{Ground, Scene};
use crate::watch::{Sample, sample, signed};

/// Clients, each with a connection that stays, and one request at a time.
const CLIENTS: u64 = 32;

/// Requests in a round.
const ROUND: u64 = 33;

/// Rounds of each client in each tenth: 100,320 requests of all together.
const ROUNDS: u64 = 95;

const TENTHS: u64 = 10;

/// Records in the table, ten times as many as the cache has room for.
const RECORDS: u64 = 20_000;

/// What an upload stores, in bytes.
const SIZE: usize = 10_000;

/// How many ask at once for what there are 16 places of, or 32. With 32 readers for 32
/// places, one request in 850,000 got 503: perhaps as a place is taken until the file is
/// closed, which may be after the answer.
const AT_ONCE: usize = 12;

/// Until what was given back is no longer resident.
const REST: Duration = Duration::from_secs(3);

/// What may be live at the end above what was after two tenths, in bytes: 0.3 B a
/// request. The cache is full after one, and each connection's buffers are as large as
/// they become; below, entries of the cache are larger or smaller by chance.
const LIVE: i64 = 256 << 10;

/// The same of resident memory: 1.3 B a request. The allocator's pages are partly used.
const RESIDENT: i64 = 1 << 20;

pub fn a_million_requests() -> Result<(), Failed> {
    let ground = Ground::prepare();
    ground.plant(RECORDS);
    // Nobody waits for this machine's disk in vain.
    let mut scene = Scene::start(ground, &[&UNLIMITED[..], &["--pool-timeout=20s"]].concat());
    let address = scene.target.address;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let [uploads, downloads, pages] = [(); 3].map(|()| Arc::new(Semaphore::new(AT_ONCE)));
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let client = runtime.block_on(Client::connect(address))?;
        let places = [&uploads, &downloads, &pages].map(Arc::clone);
        clients.push(Mixed { client, address, number, round: 0, places });
    }

    let begin = Instant::now();
    let at_rest = |scene: &Scene| {
        thread::sleep(REST);
        sample(scene, begin)
    };
    let mut samples = vec![at_rest(&scene)?];
    println!("| requests | live heap | resident | seconds |\n|---:|---:|---:|---:|");
    for tenth in 0..=TENTHS {
        if tenth > 0 {
            let running: Vec<_> =
                clients.drain(..).map(|client| runtime.spawn(client.rounds())).collect();
            for client in running {
                // A panic, since the end of the server's log is shown with that.
                let client = runtime.block_on(client).unwrap();
                clients.push(client.unwrap_or_else(|error| panic!("{error:#}")));
            }
            samples.push(at_rest(&scene)?);
        }
        let Some(Sample { at, live, resident, .. }) = samples.last() else { continue };
        println!(
            "| {} | {} | {} | {} |",
            tenth * CLIENTS * ROUNDS * ROUND,
            Mib(*live),
            Mib(*resident),
            at.as_secs()
        );
    }
    assert!(scene.target.alive(), "the server died");
    let more = |figure: fn(&Sample) -> u64| {
        let [_, _, second, .., last] = &samples[..] else { panic!("ten tenths") };
        figure(last).cast_signed() - figure(second).cast_signed()
    };
    let (live, resident) = (more(|at| at.live), more(|at| at.resident));
    println!("since the second tenth: live heap {}, resident {}", signed(live), signed(resident));
    assert!(live <= LIVE, "{} of heap are kept", signed(live));
    assert!(resident <= RESIDENT, "{} are resident", signed(resident));
    assert_eq!(scene.metric("overload_changes_total")?, 0, "the gauge spoke");
    drop(clients);
    let Scene { target, ground, .. } = scene;
    let status = target.stop();
    assert!(status.success(), "it ended with {status}");
    assert_eq!(ground.staged(), 0, "staged files are left");
    Ok(())
}

/// One of the clients.
struct Mixed {
    client: Client,
    address: SocketAddr,
    number: u64,
    round: u64,
    /// Of uploads, downloads, pages.
    places: [Arc<Semaphore>; 3],
}

impl Mixed {
    async fn rounds(mut self) -> Result<Self> {
        for _ in 0..ROUNDS {
            let (number, round) = (self.number, self.round);
            self.round().await.with_context(|| format!("client {number}, round {round}"))?;
            self.round += 1;
        }
        Ok(self)
    }

    /// [`ROUND`] requests; the table is as before afterwards. Any other answer is an
    /// error: above all 5xx.
    async fn round(&mut self) -> Result<()> {
        let body = vec![self.round.to_le_bytes()[0]; SIZE];
        let [uploads, downloads, pages] = self.places.clone();
        let place = uploads.acquire().await?;
        let stored = self.ask(Request::post("/v1/files?name=mixed", body.as_slice()), 201).await?;
        drop(place);
        let file = stored.field("location").context("no location")?.to_owned();
        let content = format!("{file}/content");

        let record = self.ask(Request::get(&file), 200).await?;
        let tag = record.field("etag").context("no tag")?.to_owned();
        self.ask(Request::get(&file).field("if-none-match", tag), 304).await?;
        let place = downloads.acquire().await?;
        let answer = self.ask(Request::get(&content), 200).await?;
        ensure!(answer.body == body, "another content came");
        self.ask(Request::head(&content), 200).await?;
        let part = Request::get(&content).field("range", "bytes=1000-1999");
        ensure!(self.ask(part, 206).await?.body == body[1000..2000], "another part came");
        self.ask(Request::get(&content).field("range", "bytes=10000-"), 416).await?;
        drop(place);
        self.ask(Request::get(format!("{file}/stats")), 200).await?;
        self.ask(Request::patch(&file, "{\"name\":\"renamed\"}"), 200).await?;
        self.ask(Request::patch(&file, "{\"name\":"), 400).await?;
        self.ask(Request::patch(&file, "{\"name\":\"\"}"), 422).await?;
        self.ask(Request::get("/v1/files?limit=101"), 422).await?;
        self.ask(Request::get("/v1/files/no-id"), 404).await?;
        self.ask(Request::get("/none"), 404).await?;
        self.ask(Request::new("DELETE", "/livez"), 405).await?;
        for limit in [1, 20] {
            let _place = pages.acquire().await?;
            self.ask(Request::get(format!("/v1/files?limit={limit}")), 200).await?;
        }
        // Few that all ask for, and some of all, which the cache does not have.
        for i in 0..7 {
            self.ask(record_of(i), 200).await?;
            let spread = (self.round * CLIENTS + self.number) * 7 + i;
            self.ask(record_of(spread * 7919 % RECORDS), 200).await?;
        }
        self.ask(Request::delete(&file), 204).await?;
        self.ask(Request::get(&file), 404).await?;
        Ok(())
    }

    async fn ask(&mut self, request: Request, expected: u16) -> Result<Response> {
        let sent = request.bytes(self.address);
        self.client.send(sent).await?;
        let answer = self.client.response(request.method() == "HEAD").await?;
        let line = request.bytes(self.address);
        let line = String::from_utf8_lossy(line.split(|byte| *byte == b'\r').next().unwrap());
        ensure!(answer.status == expected, "{line}: {} {}", answer.status, answer.text());
        Ok(answer)
    }
}

fn record_of(number: u64) -> Request {
    Request::get(format!("/v1/files/{}", rows::id(number + 1)))
}
