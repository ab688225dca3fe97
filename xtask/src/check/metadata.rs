//! What cargo knows about the workspace: `cargo metadata`, as far as it is used here.

use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::command;

/// The workspace.
#[derive(Deserialize)]
pub struct Metadata {
    /// Its members: nothing else is asked for.
    pub packages: Vec<Package>,
    pub target_directory: PathBuf,
}

/// A member.
#[derive(Deserialize)]
pub struct Package {
    pub name: String,
    pub manifest_path: PathBuf,
    pub dependencies: Vec<Dependency>,
}

/// A dependency of a member, as its manifest has it.
#[derive(Deserialize)]
pub struct Dependency {
    /// The package's name, also where the manifest gives it another.
    pub name: String,
    /// `None` is a normal one, else `dev` or `build`.
    pub kind: Option<String>,
    /// The folder of a path dependency: a crate of ours.
    pub path: Option<PathBuf>,
}

/// Asks cargo. Only manifests are read: no network, no lock file, well under a second.
pub fn read() -> anyhow::Result<Metadata> {
    let output = command::cargo()
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()
        .context("cargo metadata does not start")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata is not as expected")
}
