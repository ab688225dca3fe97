//! The floors and the starters: binaries of this package, beside the bench's own.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Peer, folder};
use crate::ground::Ground;
use crate::server::{Routes, Server, Upload};

/// The floor to which transfers are compared.
pub const COPY: Peer = Peer {
    name: "blocking copy",
    about: "a thread a connection, read and write, 256 KiB at a time",
    get: "",
    is_here: |_| true,
    start: |ground| start(ground, "floor", "copy", folder(Some("PUT"))),
};

pub const HASH: Peer = Peer {
    name: "blocking copy, hashed",
    about: "the same, and a SHA-256 of what comes in, in line",
    get: "",
    is_here: |_| true,
    start: |ground| {
        let routes = Routes { large: None, part: None, small: None, ..folder(Some("PUT")) };
        start(ground, "floor", "hash", routes)
    },
};

pub const SYNC: Peer = Peer {
    name: "blocking copy, hashed and synced",
    about: "the same, and a sync before it answers",
    get: "",
    is_here: |_| true,
    start: |ground| {
        let routes = Routes { large: None, part: None, small: None, ..folder(Some("PUT")) };
        start(ground, "floor", "sync", routes)
    },
};

pub const SENDFILE: Peer = Peer {
    name: "sendfile",
    about: "a thread a connection; the kernel sends",
    get: "",
    is_here: |_| cfg!(target_os = "linux"),
    start: |ground| start(ground, "floor", "sendfile", folder(None)),
};

pub const STREAM: Peer = Peer {
    name: "axum, streamed",
    about: "the usual starter: io::copy, ReaderStream, defaults",
    get: "",
    is_here: |_| true,
    start: |ground| {
        let (form, json) = (Some(form()), Some("/json".to_owned()));
        start(ground, "starter", "stream", Routes { form, json, ..folder(Some("PUT")) })
    },
};

pub const SERVE_DIR: Peer = Peer {
    name: "axum, ServeDir",
    about: "tower-http's ServeDir under axum::serve",
    get: "",
    is_here: |_| true,
    start: |ground| start(ground, "starter", "serve-dir", Routes { ranges: true, ..folder(None) }),
};

pub const NAIVE: Peer = Peer {
    name: "axum, naive",
    about: "bodies as Bytes (forms: field.bytes()), files read whole",
    get: "",
    is_here: |_| true,
    start: |ground| {
        start(ground, "starter", "naive", Routes { form: Some(form()), ..folder(Some("PUT")) })
    },
};

fn form() -> Upload {
    Upload::Form { path: "/form".to_owned(), part: "file" }
}

fn start(ground: &Ground, binary: &str, mode: &str, routes: Routes) -> Result<Server> {
    let log = ground.own("logs")?.join(mode);
    Server::start(ground, beside(binary)?, &log, routes, |command, address| {
        command.arg(mode).arg(address.to_string()).arg(ground.served());
    })
}

/// A binary of this package.
pub fn beside(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().context("no folder")?.join(name))
}
