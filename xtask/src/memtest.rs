//! `cargo xtask memtest`: the memory tests, with all that they need.

use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context, Result};
use devdb::{Database, EndSignal, Leash, Purpose};

use crate::binary::{self, Built};
use crate::child::{self, Signals, say};

/// What `--help` says beside the usage.
const HELP: &str = "\
Options of the memory tests:
  --tier <A|C>           Only cases of this tier: A in the test process, C the release binary
  --list                 Names the cases and runs none
  --format <table|json>  What goes to stdout
  --update               Writes the figures into budgets.toml as last recorded; never a ceiling

Exit codes: 0 all hold, 1 a build failed or a pattern could not be measured, 2 a budget is
broken, 3 a naive twin was not detected, 5 a budget or a figure is missing, 6 repetitions are
too far apart. With several, 1 before 3 before 2 before 6 before 5.";

/// Which cases to measure, and how to tell.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Options {
    // Not parsed here: clap's code for a wrong option, 2, would say that a budget is broken.
    /// Cases to run (all without any), and options
    #[arg(value_name = "CASE|OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds in the release profile, and returns the test binary's exit code as it is.
pub fn run(options: Options) -> Result<ExitCode> {
    let signals = Signals::catch()?;
    let Built::Binary(binary) = binary::memory_tests(&signals)? else {
        // Not cargo's own code: 2 would say that a budget is broken.
        return Ok(ExitCode::FAILURE);
    };
    if options.arguments.iter().any(|argument| argument == "--list" || argument == "--help") {
        return measure(&signals, &binary, &options, "").map(child::exit_code);
    }
    let database = Database::open(Purpose::Test, &child::checkout(), &mut say)?;
    let status = database.url("postgres").map_err(anyhow::Error::from);
    let status = status.and_then(|url| measure(&signals, &binary, &options, &url));
    database.stop()?;
    Ok(child::exit_code(status?))
}

/// Runs the test binary by itself: `cargo test` would add lines of its own where it fails.
fn measure(signals: &Signals, binary: &Path, options: &Options, url: &str) -> Result<ExitStatus> {
    let mut child = Leash::spawn(EndSignal::Terminate, binary, |command| {
        command.arg("memtest").args(&options.arguments).env("DATABASE_URL", url);
    })
    .context("the memory tests do not start")?;
    child::finish(&mut child, signals)
}
