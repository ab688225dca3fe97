//! What connections hold: buffers of the process, and those of the kernel.

use std::io::{ErrorKind, Write as _};
use std::time::Duration;

use anyhow::{Result, ensure};
use server::socket;

use super::stage::{ADMIN, Driven, Stage};
use super::wire::{self, Wire};

/// A body that comes by itself, and brings so much of the next request's head along, in
/// bytes: then the rest of that has no room in the buffer, which is doubled.
const UPLOAD: usize = 1000;
const ALONG: usize = 500;

/// One that gets a large buffer of the kernel's.
const LARGE: usize = 2 * socket::LARGE_BODY;

/// Each place is taken by a client that has uploaded, and has then stopped in a head
/// that fills the buffer, and more. One more is served in the place of one of them.
pub fn connections(stage: &mut Stage) -> Result<Driven> {
    stage.begin()?;
    let places = stage.count("connections") - server::admin::CONNECTIONS;
    let (next, mut clients) = (wire::unfinished(), Vec::new());
    for _ in 0..places {
        let mut client = Wire::open(stage.address())?;
        let length = UPLOAD.to_string();
        client.send(wire::request("POST", "/v1/files?name=a", &[("content-length", &length)]))?;
        stage.until_in_use("uploads", 1)?;
        client.send(["x".repeat(UPLOAD).as_str(), &next[..ALONG]].concat())?;
        ensure!(client.answer()?.0.status == 201);
        clients.push(client);
    }
    for client in &mut clients {
        client.send(&next[ALONG..])?;
    }
    let admin = idle_at_admin(stage)?;
    stage.look()?;
    let (head, _) = Wire::open(stage.address())?.get("/livez")?;
    let count = stage.term("connections").count;
    Ok(Driven {
        held: Box::new((clients, admin)),
        driven: vec![("connections", count)],
        beside: vec![],
        told: head.status.to_string(),
    })
}

/// All other places of the admin listener.
fn idle_at_admin(stage: &Stage) -> Result<Vec<Wire>> {
    let idle = |_| {
        let mut client = Wire::open(stage.scene.target.admin.expect("an admin listener"))?;
        ensure!(client.get("/livez")?.0.status == 200);
        Ok(client)
    };
    (0..ADMIN).map(idle).collect()
}

/// Each place is taken by a client that asks and asks, and reads nothing: first what is
/// answered stays, then what is asked.
pub fn sockets(stage: &mut Stage) -> Result<Driven> {
    stage.begin()?;
    let places = stage.count("connections") - server::admin::CONNECTIONS;
    let clients = (0..places).map(|_| Wire::narrow(stage.address())).collect::<Result<_>>()?;
    let clients = fill_all(clients)?;
    let admin = idle_at_admin(stage)?;
    stage.look()?;
    let (head, _) = Wire::open(stage.address())?.get("/livez")?;
    let count = stage.term("connections").count;
    Ok(Driven {
        held: Box::new((clients, admin)),
        driven: vec![("sockets, received", count), ("sockets, unsent", count)],
        beside: vec![],
        told: head.status.to_string(),
    })
}

/// Each has uploaded a file, for which the database makes no record yet, and sends on.
pub fn large_sockets(stage: &mut Stage) -> Result<Driven> {
    let count = stage.count("sockets, uploads");
    stage.begin()?;
    let lock = stage.database.lock("files")?;
    let mut clients = Vec::new();
    let length = [("content-length", &*LARGE.to_string())];
    for _ in 0..count {
        let mut client = Wire::open(stage.address())?;
        client.send(wire::request("POST", "/v1/files?name=large", &length))?;
        client.send(vec![b'x'; LARGE])?;
        clients.push(client);
    }
    let clients = fill_all(clients)?;
    stage.look()?;
    let mut client = Wire::open(stage.address())?;
    client.send(wire::request("POST", "/v1/files?name=more", &length))?;
    let (head, _) = client.answer()?;
    let count = count as u64;
    Ok(Driven {
        held: Box::new((clients, lock)),
        driven: vec![("sockets, uploads", count)],
        beside: vec![("sockets, received", count)],
        told: head.status.to_string(),
    })
}

/// Sends, as much as the kernel takes and the service does not.
fn fill_all(clients: Vec<Wire>) -> Result<Vec<(Wire, usize)>> {
    // A probe is answered whatever others hold. In pieces of few bytes: the kernel counts
    // what it needs for each, not what is in it.
    let requests = wire::get("/livez").repeat(64);
    for client in &clients {
        client.stream().set_nonblocking(true)?;
    }
    let mut clients: Vec<_> = clients.into_iter().map(|client| (client, 0)).collect();
    let mut still = 0;
    while still < 5 {
        let mut sent = 0;
        for (client, at) in &mut clients {
            sent += fill(client, at, requests.as_bytes())?;
        }
        still = if sent == 0 { still + 1 } else { 0 };
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(clients)
}

/// Sends on from where the last one stopped, until the kernel takes no more.
fn fill(client: &Wire, at: &mut usize, requests: &[u8]) -> Result<usize> {
    const PIECE: usize = 512;
    let mut sent = 0;
    loop {
        let piece = &requests[*at..(*at + PIECE).min(requests.len())];
        match client.stream().write(piece) {
            Ok(written) => {
                *at = (*at + written) % requests.len();
                sent += written;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(sent),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Each request has the largest head that there can be, and a compressed body that
/// lacks its end.
pub fn requests(stage: &mut Stage) -> Result<Driven> {
    let count = stage.count("requests");
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Wire::open(stage.address())?;
        // What the connection keeps of it is the connection's.
        client.send(wire::largest("GET", "/livez", &[]))?;
        ensure!(client.answer()?.0.status == 200);
        clients.push(client);
    }
    stage.begin()?;
    let body = wire::compressed();
    let length = body.len().to_string();
    let fields = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
        ("content-length", &length),
    ];
    let path = "/v1/files/00000000-0000-7000-8000-000000000001";
    let head = wire::largest("PATCH", path, &fields);
    for client in &mut clients {
        client.send(&head)?;
        client.send(&body[..body.len() - 12])?;
    }
    stage.look()?;
    let (head, _) = Wire::open(stage.address())?.get("/v1/files")?;
    Ok(Driven {
        held: Box::new(clients),
        driven: vec![("requests", count as u64)],
        beside: vec![],
        told: head.status.to_string(),
    })
}
