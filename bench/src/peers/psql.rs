//! The floor of exports: COPY by psql, sent on as it comes.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Peer, own, program};
use crate::ground::Ground;
use crate::server::{Routes, Server};

/// What the export has, in its order.
const COPY: &str = "COPY (SELECT id, name, content_type, size, encode(sha256, 'hex'), created_at, \
                    updated_at FROM files ORDER BY id DESC) TO STDOUT (FORMAT csv)";

pub const PEER: Peer = Peer {
    name: "psql COPY",
    about: "a psql for each export, its pipe sent on by a blocking thread",
    get: "with Postgres",
    is_here: |_| find().is_some(),
    start,
};

fn start(ground: &Ground) -> Result<Server> {
    let routes = Routes { export: Some("/".to_owned()), ..Routes::default() };
    let log = ground.own("logs")?.join("psql");
    let psql = find().context("psql is not here")?;
    Server::start(ground, own::beside("floor")?, &log, routes, |command, address| {
        command.args(["pipe", &address.to_string()]).arg(psql);
        command.args([&ground.database, "-XAtqc", COPY]);
    })
}

/// Records without content, for lists and exports: as many as there must be.
pub fn plant(ground: &Ground) -> Result<()> {
    let rows = ground.rows;
    let insert = format!(
        "INSERT INTO files (id, name, content_type, size, sha256)
         SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid,
                'record-' || lpad(number::text, 33, '0'), 'application/octet-stream', number,
                decode(repeat('5a', 32), 'hex')
         FROM generate_series(1, {rows}) AS number ON CONFLICT DO NOTHING;
         ANALYZE files"
    );
    let mut psql = Command::new(find().context("psql is not here")?);
    let status = psql.args([&ground.database, "-Xqc", &insert]).status()?;
    ensure!(status.success(), "psql could not insert: {status}");
    Ok(())
}

/// That of the Postgres which xtask has found, else any.
fn find() -> Option<PathBuf> {
    let of_xtask = std::env::var_os("PG_BIN_DIR").map(|folder| PathBuf::from(folder).join("psql"));
    of_xtask.filter(|path| path.is_file()).or_else(|| program("psql"))
}
