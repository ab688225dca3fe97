//! Building a binary, and finding what was built.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::child::{self, Signals};

/// What came of a build.
pub enum Built {
    /// The binary.
    Binary(PathBuf),
    /// cargo failed, and has said why.
    Failed(ExitStatus),
}

/// A line of cargo's `--message-format json`, as far as it is used here.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// How the server is built: see the profiles in Cargo.toml.
#[derive(Clone, Copy)]
pub enum Profile {
    Dev,
    Release,
    Dist,
}

/// Another checkout, with a target folder of its own.
#[derive(Clone, Copy)]
pub struct Other<'a> {
    pub root: &'a Path,
    pub target: &'a Path,
}

/// Builds the server.
pub fn server(signals: &Signals, profile: Profile) -> Result<Built> {
    server_of(signals, profile, None)
}

/// Builds the server of this checkout, or of another.
pub fn server_of(signals: &Signals, profile: Profile, other: Option<Other<'_>>) -> Result<Built> {
    let profile = match profile {
        Profile::Dev => "dev",
        Profile::Release => "release",
        Profile::Dist => "dist",
    };
    let arguments = ["build", "--package", "server", "--bin", "server", "--profile", profile];
    build(signals, &arguments, "server", other)
}

/// Builds the memory tests, in the release profile.
pub fn memory_tests(signals: &Signals) -> Result<Built> {
    memory_tests_of(signals, None)
}

const MEMORY_TESTS: [&str; 7] =
    ["test", "--release", "--package", "tests", "--test", "memory", "--no-run"];

/// Builds the memory tests of this checkout, or of another.
pub fn memory_tests_of(signals: &Signals, other: Option<Other<'_>>) -> Result<Built> {
    build(signals, &MEMORY_TESTS, "memory", other)
}

/// The same with a heap profiler in them.
pub fn memory_tests_that_explain(signals: &Signals) -> Result<Built> {
    let arguments = [MEMORY_TESTS.as_slice(), &["--features", "explain"]].concat();
    build(signals, &arguments, "memory", None)
}

/// Builds the bench, and the floors and starters beside it.
pub fn bench(signals: &Signals) -> Result<Built> {
    build(signals, &["build", "--release", "--package", "bench", "--bins"], "bench", None)
}

/// cargo itself tells where the binary is: the target directory can be set in many ways.
fn build(
    signals: &Signals,
    arguments: &[&str],
    target: &str,
    other: Option<Other<'_>>,
) -> Result<Built> {
    let (reader, writer) = io::pipe()?;
    let messages = std::thread::spawn(|| io::read_to_string(reader));
    let status = child::cargo(signals, move |cargo| {
        cargo
            .args(arguments)
            .arg("--message-format=json-render-diagnostics")
            .stdout(Stdio::from(writer));
        if let Some(Other { root, target }) = other {
            cargo.arg("--target-dir").arg(target).current_dir(root);
        }
    })?;
    let messages = messages.join().unwrap_or_else(|_| Ok(String::new()))?;
    if !status.success() {
        return Ok(Built::Failed(status));
    }
    let binary = executable(&messages, target);
    binary.map(Built::Binary).with_context(|| format!("cargo did not tell where {target} is"))
}

/// Where cargo has put the binary of a target, by what it told.
pub fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages
        .filter(|message| message.target.as_ref().is_some_and(|target| target.name == name))
        .find_map(|message| message.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"bytes"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"server","kind":["lib"]},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"server","kind":["bin"]},"executable":"/t/release/server"}
{"reason":"compiler-artifact","target":{"name":"memory"},"executable":"/t/release/deps/memory-1"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "server"), Some(PathBuf::from("/t/release/server")));
        assert_eq!(executable(messages, "memory"), Some(PathBuf::from("/t/release/deps/memory-1")));
        assert_eq!(executable(messages, "other"), None);
    }
}
