//! `cargo xtask memtest`: the memory tests, with all that they need.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;

use crate::binary::{self, Built, Profile};
use crate::child::{self, Signals, say};

mod arguments;
mod list;
mod overlay;
mod reference;
mod session;
mod worktree;

use arguments::Arguments;
use reference::Reference;
use session::Environment;

/// What `--help` says beneath what clap knows.
const HELP: &str = "\
Usage: cargo xtask memtest [CASE]... [OPTION]...   All cases, where none is named

Options:
  --tier <A|C>           Only cases of this tier: A in the test process, C the release binary
  --list                 Names the cases and runs none
  --format <FORMAT>      What goes to stdout: table, markdown or json
  --html <FILE>          Writes a page with a plot a case, in one file
  --svg <FILE>           Writes one picture of the cases whose peak is measured over sizes
  --baseline <FILE>      Compares with a run that was saved by --format json: before, now, Δ
  --saved <FILE>         Measures nothing: tells such a run, as it was judged then
  --ref <GITREF>         Compares with another commit: both trees are measured, by the memory
                         tests, the meter and the budgets of this one. Its worktree is in the
                         target folder, and gone at the end
  --harness <this|other> With --ref: other measures the other tree by its own tests, for when
                         this tree's do not build there
  --update               Writes the figures into budgets.toml as last recorded; never a ceiling
  --tighten <PERCENT>    With --update: lowers each ceiling that leaves more than so many percent
                         above its figure to just that; raises none
  --explain <CASE>       Runs a case under a heap profiler: where the memory of its peak was
                         allocated, by file and line, pattern and twin

Exit codes: 0 all hold, 1 a build failed or a pattern could not be measured, 2 a budget is
broken, 3 a naive twin was not detected, 5 a budget, a figure, the baseline or the ref is
missing, 6 repetitions are too far apart. With several, 1 before 3 before 2 before 6 before 5.";

/// A ref or a figure is missing, as the memory tests have it.
const MISSING: u8 = 5;

/// Which cases to measure, and how to tell.
#[derive(clap::Args)]
#[command(help_template = "{about}{after-help}", after_help = HELP)]
pub struct Options {
    // Not parsed here: most are the test binary's.
    /// Cases to run (all without any), and options
    #[arg(value_name = "CASE|OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds in the release profile, and returns the test binary's exit code as it is.
pub fn run(options: Options) -> Result<ExitCode> {
    if options.arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        return help();
    }
    let arguments = Arguments::parse(options.arguments)?;
    let signals = Signals::catch()?;
    if let Some(case) = &arguments.explain {
        let built = binary::memory_tests_that_explain(&signals)?;
        return run_built(built, |binary| explain(&signals, binary, case));
    }
    let Some(commit) = arguments.reference.as_deref().map(worktree::commit).transpose()? else {
        let built = binary::memory_tests(&signals)?;
        return run_built(built, |binary| measure(&signals, binary, &arguments.rest));
    };
    let (Some(commit), Some(name)) = (commit, &arguments.reference) else {
        say("there is no such commit here: where it is elsewhere, git fetch gets it");
        return Ok(MISSING.into());
    };
    let built = binary::memory_tests(&signals)?;
    run_built(built, |binary| {
        let reference = Reference::build(&signals, name, &commit, arguments.own_harness)?;
        compare(&signals, binary, reference, &arguments.rest)
    })
}

/// As if it stood first: after a case, it comes to us.
fn help() -> Result<ExitCode> {
    let mut command = crate::Command::command();
    command.build();
    if let Some(command) = command.find_subcommand_mut("memtest") {
        command.print_help()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run_built(built: Built, then: impl FnOnce(&Path) -> Result<ExitCode>) -> Result<ExitCode> {
    match built {
        Built::Binary(binary) => then(&binary),
        // Not cargo's own code: 2 would say that a budget is broken.
        Built::Failed(_) => Ok(ExitCode::FAILURE),
    }
}

fn measure(signals: &Signals, binary: &Path, arguments: &[OsString]) -> Result<ExitCode> {
    let needs_nothing = ["--list", "--saved"];
    let needs_nothing = |argument: &OsString| {
        let argument = argument.to_string_lossy();
        needs_nothing.contains(&argument.split('=').next().unwrap_or_default())
    };
    if arguments.iter().any(needs_nothing) {
        let status = session::start(signals, binary, "memtest", arguments, &Environment::new());
        return status.map(child::exit_code);
    }
    let Some(selected) = list::read(binary, arguments)? else { return Ok(ExitCode::FAILURE) };
    let server = server(signals, &selected)?;
    session::with(signals, binary, |environment| {
        let environment = [environment.as_slice(), &server].concat();
        session::start(signals, binary, "memtest", arguments, &environment)
    })
}

/// Before is the ref's tree, now is this one; on the same Postgres, one after the other.
fn compare(
    signals: &Signals,
    binary: &Path,
    mut reference: Reference,
    arguments: &[OsString],
) -> Result<ExitCode> {
    let Some(selected) = list::read(binary, arguments)? else { return Ok(ExitCode::FAILURE) };
    let cases = reference.shared(&selected)?;
    if cases.is_empty() {
        say("no case is in both trees");
        return Ok(MISSING.into());
    }
    let server = server(signals, &selected)?;
    if !server.is_empty() {
        reference.build_server(signals)?;
    }
    session::with(signals, binary, |environment| {
        let before = reference.measure(signals, &cases, environment)?;
        say("this tree:");
        let arguments = [arguments, &reference.arguments(&before, &cases)].concat();
        let environment = [environment.as_slice(), &server].concat();
        session::start(signals, binary, "memtest", &arguments, &environment)
    })
}

fn explain(signals: &Signals, binary: &Path, case: &str) -> Result<ExitCode> {
    session::with(signals, binary, |environment| {
        session::start(signals, binary, "explain", &[case.into()], environment)
    })
}

/// The server as it is deployed, where a case measures that: built, and where it is.
fn server(signals: &Signals, cases: &[list::Listed]) -> Result<Environment> {
    if !cases.iter().any(|case| case.is_tier_c) {
        return Ok(Environment::new());
    }
    match binary::server(signals, Profile::Release)? {
        Built::Binary(server) => Ok(vec![("SERVER_BIN", server.into())]),
        Built::Failed(status) => anyhow::bail!("the server does not build: {status}"),
    }
}
