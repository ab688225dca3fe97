//! What is in flight, in or out, and does not move.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::LEAST;
use super::stage::{Driven, NOT_ASKED, Stage};
use super::wire::{self, Wire};

/// More of a download or an export than any buffer on the way takes in, in bytes.
const LARGE: usize = 8 << 20;

/// How far readers go on from one stop to the next, in bytes, and how often: over more
/// than one chunk, so that one of the stops is where two are held.
const STEP: usize = 4 << 10;
const STOPS: usize = 20;

/// What of a form has come when it stops, in bytes.
const SENT: usize = 1_000_000;

/// How often forms are looked at.
const LOOKS: usize = 4;

/// What a form goes on with between two looks, in bytes: its buffer is not full, and its
/// client has not paused. Who has for a second ([`streaming::buffers::PAUSE`]) has none.
const TRICKLE: usize = 1 << 10;

/// Each is a form in the middle of a file, that comes little by little.
pub fn uploads(stage: &mut Stage) -> Result<Driven> {
    let count = stage.count("uploads");
    let mut clients = connected(stage, count, Wire::open)?;
    stage.begin()?;
    for client in &mut clients {
        client.send(wire::form(LARGE))?;
        client.send(vec![b'x'; SENT])?;
    }
    for _ in 0..LOOKS {
        for client in &mut clients {
            client.send(vec![b'x'; TRICKLE])?;
        }
        stage.look()?;
    }
    let one_more = [("content-length", "1")];
    let mut client = Wire::open(stage.address())?;
    client.send(wire::request("POST", "/v1/files?name=more", &one_more) + "x")?;
    let (head, _) = client.answer()?;
    Ok(Driven {
        held: Box::new(clients),
        driven: vec![("uploads", count as u64), ("upload buffers", count as u64)],
        beside: vec![],
        told: head.status.to_string(),
    })
}

/// Clients that have asked once: their connections are as they stay.
fn connected(
    stage: &Stage,
    count: usize,
    connect: fn(std::net::SocketAddr) -> Result<Wire>,
) -> Result<Vec<Wire>> {
    let connected = |_| {
        let mut client = connect(stage.address())?;
        ensure!(client.get("/livez")?.0.status == 200);
        Ok(client)
    };
    (0..count).map(connected).collect()
}

/// Answers that come before a download, and that nobody has read either: they move the
/// places where it stops.
const BEFORE: [usize; 5] = [10, 20, 15, 5, 0];

/// Each reader stops where two chunks are held: the next one is asked for while a part of
/// the last is still to be sent, that the kernel has no room for. Where that is depends on
/// what it takes at once, so several places are tried.
pub fn downloads(stage: &mut Stage) -> Result<Driven> {
    let count = stage.count("downloads");
    let path = Wire::open(stage.address())?.upload(LARGE)? + "/content";
    let least = stage.term("downloads").unit * count as u64 / 100 * LEAST;
    let mut clients = Vec::new();
    for before in BEFORE {
        clients.clear();
        stage.at_rest()?;
        let requests = wire::get("/livez").repeat(before) + &wire::get(&path);
        clients = read_slowly(stage, count, &requests)?;
        if stage.most.live - stage.before.live >= least {
            break;
        }
    }
    let (head, _) = Wire::open(stage.address())?.get(&path)?;
    Ok(Driven {
        held: Box::new(clients),
        driven: vec![("downloads", count as u64)],
        beside: vec![],
        told: head.status.to_string(),
    })
}

/// What a client takes before it stops, in bytes: so much more than goes out in small
/// chunks that the next ones are large.
const FAST: usize = 3 << 20;
const _: () = assert!(FAST as u64 > streaming::chunks::LARGE_AFTER);

/// Fast readers that stop, each with a large chunk; one more finds none, and does without.
pub fn large_chunks(stage: &mut Stage) -> Result<Driven> {
    let count = stage.count("large chunks");
    let path = Wire::open(stage.address())?.upload(4 * LARGE)? + "/content";
    let mut clients = connected(stage, count, Wire::open)?;
    stage.begin()?;
    for client in &mut clients {
        client.send(wire::get(&path))?;
        let status = client.head()?.status;
        ensure!(status == 200, "a reader was told {status}");
        client.take(FAST)?;
    }
    stage.look()?;
    let mut client = Wire::open(stage.address())?;
    client.send(wire::get(&path))?;
    let head = client.head()?;
    client.take(FAST)?;
    Ok(Driven {
        held: Box::new((clients, client)),
        driven: vec![("large chunks", count as u64)],
        beside: vec![("downloads", count as u64)],
        told: head.status.to_string(),
    })
}

/// Each export stops where two pages are held.
pub fn pages(stage: &mut Stage) -> Result<Driven> {
    let count = stage.count("pages");
    let clients = read_slowly(stage, count, &wire::get("/v1/files/export"))?;
    let (head, _) = Wire::open(stage.address())?.get("/v1/files/export")?;
    Ok(Driven {
        held: Box::new(clients),
        driven: vec![("pages", count as u64)],
        beside: vec![("pooled connections", 8)],
        told: head.status.to_string(),
    })
}

/// Each export is encoded, and stops.
pub fn encoders(stage: &mut Stage) -> Result<Driven> {
    let count = stage.count("encoders");
    let fields = [("accept-encoding", "gzip")];
    let request = wire::request("GET", "/v1/files/export", &fields);
    let clients = read_slowly(stage, count, &request)?;
    let mut client = Wire::narrow(stage.address())?;
    client.send(&request)?;
    let head = client.head()?;
    ensure!(head.status == 200, "one more export: {}", head.status);
    let told = match head.field("content-encoding") {
        Some(coding) => format!("{}, {coding}", head.status),
        None => format!("{}, as it is", head.status),
    };
    Ok(Driven {
        held: Box::new((clients, client)),
        driven: vec![("encoders", count as u64)],
        beside: vec![("pooled connections", 8)],
        told,
    })
}

/// So many readers begin at once, take a little at a time, and are looked at each time.
fn read_slowly(stage: &mut Stage, count: usize, request: &str) -> Result<Vec<Wire>> {
    let mut clients = connected(stage, count, Wire::narrow)?;
    stage.begin()?;
    for client in &mut clients {
        client.send(request)?;
    }
    for client in &mut clients {
        let status = client.head()?.status;
        ensure!(status == 200, "a reader was told {status}");
    }
    for stop in 0..STOPS {
        for client in &mut clients {
            client.take(STEP).with_context(|| format!("at stop {stop}"))?;
        }
        stage.look()?;
    }
    Ok(clients)
}

/// Between two pieces that a client takes, in microseconds: slower than the pages are
/// made, faster than the connection is given back. Which of them is just in time depends
/// on the machine.
const PACES: [u64; 5] = [1500, 2000, 1000, 2500, 500];

/// One export, whose client takes each page just in time: what the database has sent for
/// it waits in the kernel.
pub fn rows_ahead(stage: &mut Stage) -> Result<Driven> {
    const PIECE: usize = 4 << 10;
    const PIECES: usize = 1000;
    let least = stage.term("rows ahead").unit / 100 * LEAST;
    stage.begin()?;
    let mut clients = Vec::new();
    for pace in PACES {
        clients.clear();
        stage.at_rest()?;
        let mut client = Wire::narrow(stage.address())?;
        client.send(wire::get("/v1/files/export"))?;
        let status = client.head()?.status;
        ensure!(status == 200, "an export was told {status}");
        for _ in 0..PIECES {
            client.take(PIECE)?;
            stage.look_at_sockets();
            std::thread::sleep(Duration::from_micros(pace));
        }
        clients.push(client);
        if stage.most.sockets.saturating_sub(stage.before.sockets) >= least {
            break;
        }
    }
    let report = stage.report()?;
    let terms = report["terms"].as_array().context("terms")?;
    let ahead = terms.iter().find(|term| term["name"] == "rows ahead");
    let peak = &ahead.context("rows ahead")?["peak"];
    ensure!(*peak == 1, "who reads ahead had a place: {peak}");
    Ok(Driven {
        held: Box::new(clients),
        driven: vec![("rows ahead", 1)],
        // Those of the one that takes them.
        beside: vec![("sockets, unsent", 1)],
        told: NOT_ASKED.to_owned(),
    })
}
