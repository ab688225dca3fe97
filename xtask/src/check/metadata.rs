//! What cargo knows about the workspace: `cargo metadata`, as far as it is used here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::command;

/// The workspace.
#[derive(Deserialize)]
pub struct Metadata {
    /// Its members, and what they depend on if that was asked for.
    pub packages: Vec<Package>,
    pub target_directory: PathBuf,
}

/// A member, or what one depends on.
#[derive(Deserialize)]
pub struct Package {
    pub name: String,
    pub manifest_path: PathBuf,
    /// Its features, each with those that it turns on.
    #[serde(default)]
    pub features: BTreeMap<String, Vec<String>>,
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
    #[serde(default)]
    pub uses_default_features: bool,
}

/// The members. Only their manifests are read: no network, no lock file, well under a second.
pub fn read() -> anyhow::Result<Metadata> {
    ask(&["--no-deps", "--offline"])
}

/// The members and all that they depend on, which is fetched if it is not here.
pub fn read_all() -> anyhow::Result<Metadata> {
    ask(&["--locked"])
}

fn ask(arguments: &[&str]) -> anyhow::Result<Metadata> {
    let output = command::cargo()
        .args(["metadata", "--format-version", "1"])
        .args(arguments)
        .output()
        .context("cargo metadata does not start")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata is not as expected")
}
