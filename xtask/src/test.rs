//! `cargo xtask test`: all tests, with all that they need.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use devdb::{Database, EndSignal, Leash, Purpose};

use crate::binary::{self, Built, Profile};
use crate::child::{self, Signals, say};

/// Which tests to run: all, unless told otherwise.
#[derive(clap::Args)]
pub struct Options {
    /// Goes to `cargo test`, for example `-p storage` or `--test http`
    #[arg(last = true)]
    cargo: Vec<OsString>,
}

/// Variables of the tests' environment.
pub type Environment = Vec<(&'static str, OsString)>;

/// Returns `cargo test`'s exit code. Postgres ends before; its data stays, which saves the next
/// run a second.
pub fn run(options: Options) -> Result<ExitCode> {
    run_with(options.cargo, &Environment::new())
}

/// The same with these arguments, and more that the tests are told.
pub fn run_with(cargo: Vec<OsString>, environment: &Environment) -> Result<ExitCode> {
    let database = Database::open(Purpose::Test, &child::checkout(), &mut say)?;
    let signals = Signals::catch()?;
    let code = run_on(&database, &signals, &Options { cargo }, environment);
    database.stop()?;
    code
}

fn run_on(
    database: &Database,
    signals: &Signals,
    options: &Options,
    environment: &Environment,
) -> Result<ExitCode> {
    // Some tests are about the binary as it is deployed.
    let binary = match binary::server(signals, Profile::Release)? {
        Built::Binary(binary) => binary,
        Built::Failed(status) => return Ok(child::exit_code(status)),
    };
    let url = database.url("postgres")?;
    let status = child::cargo(signals, |cargo| {
        cargo.arg("test");
        // With both, cargo would take the whole workspace. What follows a second `--` is for the
        // tests themselves.
        if !options.cargo.iter().take_while(|argument| *argument != "--").any(names_a_package) {
            cargo.arg("--workspace");
        }
        cargo.args(&options.cargo).env("DATABASE_URL", url).env("SERVER_BIN", &binary);
        cargo.envs(environment.iter().cloned());
        if let Database::Private(cluster) = database {
            // For devdb's own tests, which start others: what was fetched once is enough.
            cargo.env("PG_BIN_DIR", cluster.bin_dir());
        }
    })?;
    // The budgets of the memory tests are for the release profile. What was asked for by name is
    // cargo's to run.
    if !status.success() || !options.cargo.is_empty() {
        return Ok(child::exit_code(status));
    }
    match binary::memory_tests(signals)? {
        Built::Binary(memory) => trials(&memory, &binary, &database.url("postgres")?, signals),
        Built::Failed(status) => Ok(child::exit_code(status)),
    }
}

/// A trial for each memory case.
fn trials(memory: &Path, server: &Path, url: &str, signals: &Signals) -> Result<ExitCode> {
    let mut child = Leash::spawn(EndSignal::Terminate, memory, |command| {
        command.env("DATABASE_URL", url).env("SERVER_BIN", server);
    })
    .context("the memory tests do not start")?;
    child::finish(&mut child, signals).map(child::exit_code)
}

/// `-p name`, `-pname`, `--package name`, `--package=name`.
fn names_a_package(argument: &OsString) -> bool {
    let argument = argument.to_string_lossy();
    argument.starts_with("-p") || argument.starts_with("--package")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_package_is_seen() {
        for argument in ["-p", "-pstorage", "--package", "--package=storage"] {
            assert!(names_a_package(&argument.into()), "{argument}");
        }
        for argument in ["--test", "--profile", "storage", "--workspace"] {
            assert!(!names_a_package(&argument.into()), "{argument}");
        }
    }
}
