//! `cargo xtask bench`: speed and memory beside the peers, with all that it needs.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result};
use devdb::{Database, EndSignal, Leash, Purpose};

use crate::binary::{self, Built, Profile};
use crate::child::{self, Signals, say};

mod bare;

/// A database of its own: a server under load fills it.
const DATABASE: &str = "bench";

/// Where the files are that are sent: a disk, as /tmp may be memory.
const FOLDER: &str = "target/bench";

/// Which scenarios to run, and how to tell.
#[derive(clap::Args)]
pub struct Options {
    /// Builds ours without its sync, and without its hash too: rows of their own
    #[arg(long)]
    bare: bool,
    /// Scenarios (all without any), and options: see `cargo xtask bench -- --help`
    #[arg(value_name = "SCENARIO|OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds all in the release profile, and runs the bench.
pub fn run(options: Options) -> Result<ExitCode> {
    let signals = Signals::catch()?;
    let bench = match binary::bench(&signals)? {
        Built::Binary(binary) => binary,
        Built::Failed(status) => return Ok(child::exit_code(status)),
    };
    if options.arguments.iter().any(|argument| argument == "--list" || argument == "--help") {
        // What it can do: that takes neither ours nor a database.
        let mut child = Leash::spawn(EndSignal::Terminate, &bench, |command| {
            command.args(&options.arguments);
        })
        .context("the bench does not start")?;
        return child::finish(&mut child, &signals).map(child::exit_code);
    }
    let server = match binary::server(&signals, Profile::Release)? {
        Built::Binary(binary) => binary,
        Built::Failed(status) => return Ok(child::exit_code(status)),
    };
    let bare = if options.bare { bare::build(&signals)? } else { Vec::new() };
    let database = Database::open(Purpose::Test, &child::checkout(), &mut say)?;
    let status = database.url(DATABASE).map_err(anyhow::Error::from).and_then(|url| {
        let mut child = Leash::spawn(EndSignal::Terminate, &bench, |command| {
            command.args(&options.arguments).env("DATABASE_URL", url).env("SERVER_BIN", &server);
            command.envs(bare.iter().map(|(variable, binary)| (variable, binary)));
            command.env("BENCH_DIR", child::checkout().join(FOLDER));
            if let Database::Private(cluster) = &database {
                command.env("PG_BIN_DIR", cluster.bin_dir());
            }
        })
        .context("the bench does not start")?;
        child::finish(&mut child, &signals)
    });
    database.stop()?;
    Ok(child::exit_code(status?))
}
