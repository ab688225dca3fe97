//! Ours: with its record in Postgres, its digest, its fsync, its log, all middleware. For
//! uploads also: with larger buffers, and without the sync, and without the digest.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use super::{Peer, psql};
use crate::client::Client;
use crate::ground::{Ground, LARGE, PART};
use crate::server::{Routes, Server, Upload};

pub const PEER: Peer = Peer {
    name: "ours",
    about: "hashed, synced, a record in Postgres; a line in the log for each request",
    get: "cargo xtask bench builds it",
    is_here: |_| true,
    start,
};

pub const LARGE_BUFFERS: Peer = Peer {
    name: "ours, large buffers",
    about: "the same, with 64 KiB a connection, 256 KiB received, 16 buffers for one upload",
    get: "",
    is_here: |_| true,
    start: |ground| start_for_uploads(ground, &ground.ours.server, &LARGE_ONES),
};

pub const UNSYNCED: Peer = Peer {
    name: "ours, not synced",
    about: "as ours, and what it receives is not synced: cut out of the code",
    get: BARE,
    is_here: |ground| ground.ours.unsynced.is_some(),
    start: |ground| start_cut(ground, ground.ours.unsynced.as_deref()),
};

pub const UNHASHED: Peer = Peer {
    name: "ours, neither hashed nor synced",
    about: "nor hashed",
    get: BARE,
    is_here: |ground| ground.ours.bare.is_some(),
    start: |ground| start_cut(ground, ground.ours.bare.as_deref()),
};

/// What brings those with cuts; not `--install`, which is this program's.
pub const BARE: &str = "cargo xtask bench --bare";

/// What an operator may buy speed with: the plan counts them.
const LARGE_ONES: [(&str, &str); 3] =
    [("CONNECTION_BUFFER", "64KiB"), ("SOCKET_RECEIVE_BUFFER", "256KiB"), ("UPLOAD_BORROW", "15")];

/// The records of the large file and of the part, stored once for all rounds.
static STORED: OnceLock<[String; 2]> = OnceLock::new();

fn start(ground: &Ground) -> Result<Server> {
    let stored = stored(ground)?;
    forget(ground, stored)?;
    launch(ground, &ground.ours.server, &[], routes(Some(stored)))
}

fn stored(ground: &Ground) -> Result<&'static [String; 2]> {
    if let Some(stored) = STORED.get() {
        return Ok(stored);
    }
    // By a process of its own: what storing costs is measured by itself.
    let server = launch(ground, &ground.ours.server, &[], routes(None))?;
    let stored = [store(&server, ground, LARGE)?, store(&server, ground, PART)?];
    psql::plant(ground)?;
    Ok(STORED.get_or_init(|| stored))
}

/// One that is asked for nothing but uploads.
fn start_for_uploads(ground: &Ground, server: &Path, settings: &[(&str, &str)]) -> Result<Server> {
    forget(ground, stored(ground)?)?;
    let upload = routes(None).upload;
    launch(ground, server, settings, Routes { upload, ..Routes::default() })
}

fn start_cut(ground: &Ground, server: Option<&Path>) -> Result<Server> {
    start_for_uploads(ground, server.context(BARE)?, &[])
}

/// Removes what was received before, and what was not, in a limit too small: else a run
/// takes tens of GiB.
fn forget(ground: &Ground, stored: &[String; 2]) -> Result<()> {
    for folder in ["content", "staging"] {
        for entry in fs::read_dir(ground.content().join(folder))? {
            let path = entry?.path();
            let id = path.file_name().unwrap_or_default().to_string_lossy();
            if !stored.iter().any(|record| record.ends_with(&*id)) {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

fn routes(stored: Option<&[String; 2]>) -> Routes {
    let content = |index: usize| stored.map(|stored| format!("{}/content", stored[index]));
    Routes {
        upload: Some(Upload::Raw { method: "POST", path: "/v1/files?name={}".to_owned() }),
        form: Some(Upload::Form { path: "/v1/files".to_owned(), part: "file" }),
        large: content(0),
        part: content(1),
        ranges: true,
        small: stored.map(|stored| stored[1].clone()),
        json: stored.map(|stored| stored[1].clone()),
        page: Some("/v1/files?limit=100".to_owned()),
        export: Some("/v1/files/export".to_owned()),
    }
}

fn launch(
    ground: &Ground,
    server: &Path,
    settings: &[(&str, &str)],
    routes: Routes,
) -> Result<Server> {
    let equip = |command: &mut Command| {
        command
            .env_clear()
            .env("DATABASE_URL", &ground.database)
            .env("CONTENT_DIR", ground.content())
            .env("ADMIN_LISTEN", "127.0.0.1:0")
            .env("MEMORY_LIMIT", "1GiB")
            // More than any scenario has at once.
            .env("MAX_CONNECTIONS", "1100")
            .env("MAX_UPLOADS", "64")
            .env("MAX_DOWNLOADS", "64")
            .env("MAX_REQUESTS", "128")
            // All clients have one address here.
            .env("RATE_LIMIT_PERIOD", "1us")
            .env("RATE_LIMIT_BURST", "1000000")
            .envs(settings.iter().copied())
            .envs(ground.ours.settings.iter().map(|(name, value)| (name, value)));
    };
    let mut migrate = Command::new(server);
    equip(&mut migrate);
    ensure!(migrate.arg("migrate").status()?.success(), "the migration failed");
    let log = ground.own("logs")?.join("ours");
    Server::start(ground, server, &log, routes, |command, address| {
        equip(command);
        command.env("LISTEN", address.to_string());
    })
}

/// Uploads a file; returns its record's path.
fn store(server: &Server, ground: &Ground, name: &str) -> Result<String> {
    let bytes = fs::read(ground.served().join(name))?;
    let (before, _) = server.upload(name, bytes.len() as u64)?;
    let mut client = Client::connect(server.address)?;
    client.send(&before)?;
    client.send(&bytes)?;
    let head = client.head()?;
    ensure!(head.status == 201, "it answered {}", head.status);
    head.field("location").map(str::to_owned).context("no Location")
}
