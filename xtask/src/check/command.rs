//! The commands that a check starts.

use std::env;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::child;

/// A command in the workspace's folder, with the environment of a plain shell.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(child::checkout()).stdin(Stdio::null());
    child::forget_package(&mut command);
    command
}

/// The cargo that runs this.
pub fn cargo() -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command, its output going where ours goes; fails if it does.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status =
        command.status().with_context(|| format!("{:?} does not start", command.get_program()))?;
    if !status.success() {
        bail!("{status}");
    }
    Ok(())
}
