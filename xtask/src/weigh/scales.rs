//! Weighing the dependencies: cargo tells, without a build.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};

use crate::check::command;
use crate::check::metadata::{self, Metadata};

/// What runs with the service's rights.
pub const SHIPPED: &str = "normal,no-proc-macro";

/// What is compiled to make it, macros and build scripts included.
pub const BUILT: &str = "normal,build";

/// Not `cargo metadata`'s graph: that has the features which the tests turn on.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The service's own crates: those that `tests` and `xtask` alone use are not weighed.
const OURS: [&str; 5] = ["budget", "handler", "server", "storage", "streaming"];

/// Crates of others: name and version.
pub type Tree = BTreeSet<(String, String)>;

/// The service's dependencies, along edges of these kinds.
pub fn tree(edges: &str) -> Result<Tree> {
    let output = command::cargo()
        .args(["tree", "--package", "server", "--edges", edges, "--target", TARGET])
        .args(["--prefix", "none", "--format", "{p}", "--locked"])
        .output()
        .context("cargo tree does not start")?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    }
    let tree = parse(&String::from_utf8_lossy(&output.stdout));
    // Nothing at all would hold any budget.
    ensure!(!tree.is_empty(), "cargo tree is not as expected");
    Ok(tree)
}

/// A line a crate: name, version, and in brackets what it is beside that. Ours have a path there.
fn parse(text: &str) -> Tree {
    let others = text.lines().filter(|line| !line.contains("(/"));
    let crates = others.filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    crates.collect()
}

/// The crates of which there is more than one version.
pub fn duplicates(tree: &Tree) -> Vec<String> {
    let mut versions = BTreeMap::new();
    for (name, _) in tree {
        *versions.entry(name).or_insert(0) += 1;
    }
    versions.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name.clone()).collect()
}

/// The direct dependencies of the service whose default features are on and add more than `std`,
/// without which hardly a crate is of use here.
pub fn defaults() -> Result<BTreeSet<String>> {
    Ok(with_defaults(&metadata::read_all()?))
}

fn with_defaults(metadata: &Metadata) -> BTreeSet<String> {
    let adds_more = |name: &str| {
        let versions = metadata.packages.iter().filter(|package| package.name == name);
        let mut defaults = versions.filter_map(|package| package.features.get("default"));
        defaults.any(|default| default.iter().any(|feature| feature != "std"))
    };
    let ours = metadata.packages.iter().filter(|package| OURS.contains(&package.name.as_str()));
    let dependencies = ours.flat_map(|package| &package.dependencies);
    let on = dependencies.filter(|dependency| {
        dependency.uses_default_features
            && dependency.path.is_none()
            && dependency.kind.as_deref() != Some("dev")
    });
    on.map(|dependency| dependency.name.clone()).filter(|name| adds_more(name)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LINES: &str = "\
server v0.1.0 (/home/somebody/service/crates/server)
bytes v1.12.0
serde v1.0.2
serde_derive v1.0.2 (proc-macro)
sha2 v0.10.9
sha2 v0.11.0
bytes v1.12.0 (*)

";

    #[test]
    fn each_crate_of_others_counts_once() {
        let names: Vec<_> = parse(LINES).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["bytes", "serde", "serde_derive", "sha2", "sha2"]);
    }

    #[test]
    fn two_versions_are_a_duplicate() {
        assert_eq!(duplicates(&parse(LINES)), ["sha2"]);
    }

    #[test]
    fn this_workspace_can_be_weighed() {
        let (shipped, built) = (tree(SHIPPED).unwrap(), tree(BUILT).unwrap());
        assert!(shipped.iter().any(|(name, _)| name == "hyper"), "{shipped:?}");
        assert!(!shipped.iter().any(|(name, _)| name == "serde_derive"), "{shipped:?}");
        assert!(built.is_superset(&shipped) && built.len() > shipped.len());
        assert!(defaults().unwrap().contains("clap"));
    }

    #[test]
    fn defaults_count_where_they_are_on_and_add_something() {
        let dependency = |name: &str, on: bool, kind: Option<&str>, path: Option<&str>| {
            let (kind, path) = (json!(kind), json!(path));
            json!({ "name": name, "kind": kind, "path": path, "uses_default_features": on })
        };
        let package = |name: &str, default: &[&str], dependencies: &[serde_json::Value]| {
            json!({
                "name": name, "manifest_path": "Cargo.toml", "features": { "default": default },
                "dependencies": dependencies,
            })
        };
        let packages = [
            package(
                "server",
                &[],
                &[
                    dependency("colourful", true, None, None),
                    dependency("plain", true, None, None),
                    dependency("off", false, None, None),
                    dependency("tested", true, Some("dev"), None),
                    dependency("handler", true, None, Some("/somewhere")),
                ],
            ),
            package("xtask", &[], &[dependency("tool", true, None, None)]),
            package("colourful", &["std", "colour"], &[]),
            package("plain", &["std"], &[]),
            package("off", &["colour"], &[]),
            package("tested", &["colour"], &[]),
            package("handler", &["colour"], &[]),
            package("tool", &["colour"], &[]),
        ];
        let metadata = json!({ "packages": packages, "target_directory": "target" });
        let metadata = serde_json::from_value(metadata).unwrap();
        assert_eq!(with_defaults(&metadata), ["colourful".to_owned()].into());
    }
}
