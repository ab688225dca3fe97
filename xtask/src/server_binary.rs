//! Building the server, and finding what was built.

use std::io;
use std::path::PathBuf;
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

/// A line of `cargo build --message-format json`, as far as it is used here.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds the server, in the release profile if `release`.
///
/// cargo itself tells where the binary is: the target directory can be set in many ways.
pub fn build(signals: &Signals, release: bool) -> Result<Built> {
    let (reader, writer) = io::pipe()?;
    let messages = std::thread::spawn(|| io::read_to_string(reader));
    let status = child::cargo(signals, move |cargo| {
        cargo
            .args(["build", "--package", "server", "--bin", "server"])
            .args(release.then_some("--release"))
            .arg("--message-format=json-render-diagnostics")
            .stdout(Stdio::from(writer));
    })?;
    let messages = messages.join().unwrap_or_else(|_| Ok(String::new()))?;
    if !status.success() {
        return Ok(Built::Failed(status));
    }
    executable(&messages).map(Built::Binary).context("cargo did not tell where the server is")
}

fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages
        .filter(|message| message.target.as_ref().is_some_and(|target| target.name == "server"))
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
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/release/server")));
        assert_eq!(executable("{\"reason\":\"build-finished\",\"success\":true}"), None);
    }
}
