//! Express on Node, as tutorials have it: to disk, or in memory.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Peer, folder, program};
use crate::ground::Ground;
use crate::server::{Routes, Server, Upload};

const SCRIPT: &str = include_str!("express.js");

/// Where `npm install` is to be run.
const FOLDER: &str = "express";

const GET: &str = "npm install --prefix target/bench/express express@5 multer@2";

pub const RAW: Peer = Peer {
    name: "Express, streamed",
    about: "pipeline into a file (forms: multer's diskStorage), sendFile out of it",
    get: GET,
    is_here,
    start: |ground| {
        let form = Upload::Form { path: "/upload".to_owned(), part: "file" };
        let routes = routes(folder(Some("PUT")));
        start(ground, "raw", Routes { form: Some(form), ranges: true, ..routes })
    },
};

pub const MEMORY: Peer = Peer {
    name: "Express, in memory",
    about: "multer's memoryStorage, readFileSync",
    get: GET,
    is_here,
    start: |ground| {
        let upload = Upload::Form { path: "/upload".to_owned(), part: "file" };
        let routes = routes(folder(None));
        start(
            ground,
            "memory",
            Routes { upload: Some(upload.clone()), form: Some(upload), ..routes },
        )
    },
};

fn routes(routes: Routes) -> Routes {
    Routes { json: Some("/json".to_owned()), ..routes }
}

fn is_here(ground: &Ground) -> bool {
    let is_installed = |own: PathBuf| own.join("node_modules/express").is_dir();
    program("node").is_some() && ground.own(FOLDER).is_ok_and(is_installed)
}

fn start(ground: &Ground, mode: &str, routes: Routes) -> Result<Server> {
    let own = ground.own(FOLDER)?;
    let script = own.join("express.js");
    fs::write(&script, SCRIPT)?;
    let node = program("node").context("node is not here")?;
    Server::start(ground, node, &own.join(format!("log-{mode}")), routes, |command, address| {
        command.arg(script).args([mode, &address.port().to_string()]).arg(ground.served());
    })
}
