//! What connections hold: buffers of the process, and those of the kernel.

use std::io::{ErrorKind, Write as _};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::stage::{ADMIN, Driven, Stage};
use super::wire::{self, Wire};

/// An upload that makes a connection's buffer as large as it gets, in bytes.
const UPLOAD: usize = 128 << 10;

/// Each place is taken by a client that has uploaded, and has then stopped in a head
/// that fills the buffer.
pub fn connections(stage: &mut Stage) -> Result<Driven> {
    stage.begin()?;
    let places = stage.count("connections") - server::admin::CONNECTIONS;
    let mut clients = Vec::new();
    for _ in 0..places {
        let mut client = Wire::open(stage.address())?;
        client.upload(UPLOAD)?;
        clients.push(client);
    }
    for client in &mut clients {
        client.send(wire::unfinished())?;
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
    // A probe is answered whatever others hold. In pieces of few bytes: the kernel counts
    // what it needs for each, not what is in it.
    let requests = wire::get("/livez").repeat(64);
    let mut clients: Vec<(Wire, usize)> = Vec::new();
    for _ in 0..places {
        let client = Wire::narrow(stage.address())?;
        client.stream().set_nonblocking(true)?;
        clients.push((client, 0));
    }
    let mut still = 0;
    while still < 5 {
        let mut sent = 0;
        for (client, at) in &mut clients {
            sent += fill(client, at, requests.as_bytes())?;
        }
        still = if sent == 0 { still + 1 } else { 0 };
        std::thread::sleep(Duration::from_millis(50));
    }
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
