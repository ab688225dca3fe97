//! Manifests: what is said once, in the root, is said nowhere else.

use std::fs;

use anyhow::{Context, bail};
use toml::{Table, Value};

use super::metadata;
use crate::child;

/// What each crate takes from `[workspace.package]`.
const INHERITED: &[&str] = &["version", "edition", "rust-version", "license", "publish"];

/// Where a manifest, or a target in it, lists dependencies.
const LISTS: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

/// Fails if a member has a version, a lint or a licence of its own.
pub fn check() -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for package in metadata::read()?.packages {
        let path = &package.manifest_path;
        let shown = path.strip_prefix(child::checkout()).unwrap_or(path).display();
        let text = fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
        let manifest = text.parse().with_context(|| format!("in {shown}"))?;
        lines.extend(faults(&manifest).into_iter().map(|fault| format!("{shown}: {fault}")));
    }
    if !lines.is_empty() {
        bail!("{}", lines.join("\n"));
    }
    Ok(())
}

/// A line for each thing that the manifest should take from the root.
fn faults(manifest: &Table) -> Vec<String> {
    let mut lines = Vec::new();
    let package = manifest.get("package").and_then(Value::as_table);
    for key in INHERITED {
        if !package.and_then(|package| package.get(*key)).is_some_and(inherits) {
            lines.push(format!("{key} is not the workspace's: {key}.workspace = true"));
        }
    }
    if !manifest.get("lints").is_some_and(inherits) {
        lines.push("lints are not the workspace's: [lints] workspace = true".into());
    }
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    for table in targets.chain([manifest]) {
        let lists = LISTS.iter().filter_map(|list| table.get(*list)?.as_table());
        for (name, dependency) in lists.flatten() {
            if !inherits(dependency) {
                lines.push(format!("{name} has a version of its own: {name}.workspace = true"));
            }
        }
    }
    lines
}

/// Whether it is `{ workspace = true, … }`.
fn inherits(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [package]
        name = "good"
        version.workspace = true
        edition.workspace = true
        rust-version.workspace = true
        license.workspace = true
        publish.workspace = true
        [lints]
        workspace = true
        [dependencies]
        a.workspace = true
        b = { workspace = true, features = ["c"] }
    "#;

    fn faults_of(text: &str) -> Vec<String> {
        faults(&text.parse().unwrap())
    }

    #[test]
    fn a_manifest_that_inherits_passes() {
        assert_eq!(faults_of(GOOD), [""; 0]);
    }

    #[test]
    fn an_own_version_is_found_in_every_list() {
        for list in [
            "dependencies.d = \"1\"",
            "dependencies.d = { version = \"1\" }",
            "dev-dependencies.d = { path = \"../d\" }",
            "build-dependencies.d = \"1\"",
            "target.'cfg(unix)'.dependencies.d = \"1\"",
        ] {
            let found = faults_of(&format!("{list}\n{}", GOOD.replace("[dependencies]", "[x]")));
            assert_eq!(found, ["d has a version of its own: d.workspace = true"], "{list}");
        }
    }

    #[test]
    fn an_own_licence_and_missing_lints_are_found() {
        let text = GOOD.replace("license.workspace = true", "license = \"MIT\"");
        let found = faults_of(&text.replace("[lints]", "[x]"));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("license is not"), "{found:?}");
        assert!(found[1].starts_with("lints are not"), "{found:?}");
    }
}
