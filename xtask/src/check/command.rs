//! The commands that a check starts.

use std::env;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::child;

/// A command in the workspace's folder, with the environment of a plain shell.
///
/// `cargo run` tells xtask about the package xtask (`CARGO_PKG_NAME` and more).
/// ring's build script asks to be rerun when these change: handed on, they
/// would have ring, rustls and sqlx built again, for 20 s, whenever one goes
/// from `cargo xtask …` to `cargo …` or back.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(child::checkout()).stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        let of_package = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        });
        if of_package {
            command.env_remove(name);
        }
    }
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
