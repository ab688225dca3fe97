//! Clients that do little or nothing: what each makes the server hold.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Scenario, Unit, Work};
use crate::client::Client;
use crate::ground::noise;
use crate::server::Server;

/// Until what was freed has gone back to the system: allocators take their time.
const SETTLE: Duration = Duration::from_secs(5);

/// An upload that is over, in bytes.
const UPLOADED: u64 = 4 << 20;

/// One that has begun, in bytes.
const BEGUN: u64 = 256 << 10;

pub const IDLE: Scenario = Scenario {
    name: "idle connection",
    about: "1,000 connections, each after one small answer",
    unit: Unit::Held,
    reference: "",
    can: |routes| routes.small.is_some(),
    warm: None,
    run: |server, _| {
        let request = server.get(server.routes.small.as_deref().context("nothing small")?);
        hold(server, 1_000, |client| client.get(&request).map(drop))
    },
};

pub const IDLE_AFTER_UPLOAD: Scenario = Scenario {
    name: "idle after upload",
    about: "200 connections, each after an upload of 4 MiB",
    unit: Unit::Held,
    reference: "",
    can: |routes| routes.upload.is_some(),
    warm: None,
    run: |server, _| {
        let pattern = noise(64 * 1024);
        let (before, after) = server.upload("idle.bin", UPLOADED)?;
        hold(server, 200, |client| {
            client.send(&before)?;
            client.send_body(&pattern, UPLOADED)?;
            client.send(&after)?;
            let head = client.head()?;
            ensure!((200..400).contains(&head.status), "answered {}", head.status);
            client.body(&head, |_| ()).map(drop)
        })
    },
};

pub const SLOW_UPLOAD: Scenario = Scenario {
    name: "slow upload",
    about: "64 uploads that have stopped after 256 KiB",
    unit: Unit::Held,
    reference: "",
    can: |routes| routes.upload.is_some(),
    warm: None,
    run: |server, _| {
        let pattern = noise(64 * 1024);
        let (before, _) = server.upload("slow.bin", UPLOADED)?;
        hold(server, 64, |client| {
            client.send(&before)?;
            client.send_body(&pattern, BEGUN)
        })
    },
};

pub const STALLED_READER: Scenario = Scenario {
    name: "stalled reader",
    about: "64 downloads of which a MiB was read",
    unit: Unit::Held,
    reference: "",
    can: |routes| routes.part.is_some(),
    warm: None,
    run: |server, _| {
        let request = server.get(server.routes.part.as_deref().context("no such file")?);
        hold(server, 64, |client| {
            client.send(&request)?;
            client.head()?;
            client.take(1 << 20, |_| ())
        })
    },
};

/// What each of `count` clients makes the server hold once it has come to `begin`'s
/// end, in bytes that are no file's.
fn hold(server: &Server, count: usize, begin: impl Fn(&mut Client) -> Result<()>) -> Result<Work> {
    // What the first client brings about stays, and is not a connection's.
    begin(&mut Client::small(server.address)?)?;
    sleep(SETTLE);
    let before = server.usage().anonymous;
    let mut clients = Vec::with_capacity(count);
    for index in 0..count {
        let mut client = Client::small(server.address)?;
        begin(&mut client).with_context(|| format!("client {index}"))?;
        clients.push(client);
    }
    sleep(SETTLE);
    let grown = server.usage().anonymous as f64 - before as f64;
    let open = clients.iter().filter(|client| client.is_open()).count();
    let held = if open == 0 { f64::NAN } else { grown / open as f64 };
    Ok(Work { amount: count as f64, held: Some(held), ..Work::default() })
}
