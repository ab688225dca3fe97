//! Who is measured: ours, the peers, the usual starters, the floors.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::ground::{Ground, LARGE, PART, SMALL};
use crate::server::{Routes, Server, Upload};

mod express;
mod miniserve;
mod nginx;
mod ours;
mod own;
mod psql;

/// One that is measured.
pub struct Peer {
    pub name: &'static str,
    /// What it is, and how it is set up.
    pub about: &'static str,
    /// The command that gets it, where it is missing.
    pub get: &'static str,
    /// Whether it is here.
    pub is_here: fn(&Ground) -> bool,
    /// Starts it.
    pub start: fn(&Ground) -> Result<Server>,
}

/// Everyone, in the order of the table.
pub const ALL: &[Peer] = &[
    ours::PEER,
    ours::LARGE_BUFFERS,
    ours::UNSYNCED,
    ours::UNHASHED,
    own::COPY,
    own::HASH,
    own::SYNC,
    own::SENDFILE,
    psql::PEER,
    nginx::PEER,
    miniserve::PEER,
    own::STREAM,
    own::SERVE_DIR,
    own::NAIVE,
    express::RAW,
    express::MEMORY,
];

/// Gets those that are missing. What one command brings, another need not.
pub fn install(ground: &Ground) -> Result<()> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no checkout")?;
    for peer in ALL {
        if (peer.is_here)(ground) || peer.get == ours::BARE {
            continue;
        }
        eprintln!("{}: {}", peer.name, peer.get);
        let mut command = Command::new("sh");
        let status = command.args(["-c", peer.get]).current_dir(checkout).status()?;
        if !status.success() {
            eprintln!("{}: {status}; it is left out", peer.name);
        }
    }
    Ok(())
}

/// For a peer that serves and fills the shared folder, with names as paths.
fn folder(upload: Option<&'static str>) -> Routes {
    Routes {
        upload: upload.map(|method| Upload::Raw { method, path: "/{}".to_owned() }),
        large: Some(format!("/{LARGE}")),
        part: Some(format!("/{PART}")),
        small: Some(format!("/{SMALL}")),
        ..Routes::default()
    }
}

/// Where a program is, among the usual places.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}
