//! miniserve: a file server in Rust (actix), uploads by form.

use anyhow::{Context, Result};

use super::{Peer, folder, program};
use crate::ground::Ground;
use crate::server::{Routes, Server, Upload};

pub const PEER: Peer = Peer {
    name: "miniserve",
    about: "uploads by form, overwriting",
    get: "cargo install --locked miniserve",
    is_here: |_| program("miniserve").is_some(),
    start,
};

fn start(ground: &Ground) -> Result<Server> {
    let upload = Upload::Form { path: "/upload?path=/".to_owned(), part: "file_to_upload" };
    let routes =
        Routes { upload: Some(upload.clone()), form: Some(upload), ranges: true, ..folder(None) };
    let program = program("miniserve").context("miniserve is not here")?;
    let log = ground.own("logs")?.join("miniserve");
    Server::start(ground, program, &log, routes, |command, address| {
        command.args(["--interfaces", "127.0.0.1", "--upload-files"]);
        command.args(["--on-duplicate-files", "overwrite"]);
        command.args(["--port", &address.port().to_string()]).arg(ground.served());
    })
}
