//! What a run has for as long as it runs: a Postgres, and a folder for its files.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode, ExitStatus};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use devdb::{Database, EndSignal, Leash, Purpose};

use crate::child::{self, Signals, say};

/// Variables of the memory tests' environment.
pub type Environment = Vec<(&'static str, OsString)>;

/// Gives `then` the environment of a run. Whatever becomes of the run, its databases and its
/// files are gone afterwards.
pub fn with(
    signals: &Signals,
    binary: &Path,
    then: impl FnOnce(&Environment) -> Result<ExitStatus>,
) -> Result<ExitCode> {
    let database = Database::open(Purpose::Test, &child::checkout(), &mut say)?;
    let status = database.url("postgres").map_err(anyhow::Error::from).and_then(|url| {
        let files = Files::create().context("a folder for temporary files")?;
        let environment = vec![("DATABASE_URL", url.into()), ("TMPDIR", files.0.clone().into())];
        let status = then(&environment);
        if signals.came() {
            // Ended in the midst of a case, which could not clean up. Best effort: what stays is
            // for the next run.
            let _ = Command::new(binary).arg("sweep").envs(environment).status();
        }
        status
    });
    database.stop()?;
    Ok(child::exit_code(status?))
}

/// Runs the test binary by itself: `cargo test` would add lines of its own where it fails.
pub fn start(
    signals: &Signals,
    binary: &Path,
    command: &str,
    arguments: &[OsString],
    environment: &Environment,
) -> Result<ExitStatus> {
    let mut child = Leash::spawn(EndSignal::Terminate, binary, |child| {
        child.arg(command).args(arguments).envs(environment.iter().cloned());
    })
    .context("the memory tests do not start")?;
    child::finish(&mut child, signals)
}

/// A folder for what a case stores, gone when this is dropped.
struct Files(PathBuf);

impl Files {
    fn create() -> io::Result<Files> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("memtest-{}-{}", process::id(), now.as_nanos());
        let folder = env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Files(folder))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
