//! This tree's harness in another tree: the same measurement on both sides.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use toml_edit::{DocumentMut, Item};

/// What measures. All else of the other tree is what is measured.
const HARNESS: [&str; 4] = ["tests", "crates/meter", "crates/devdb", "budgets.toml"];

/// Puts the harness of the tree `from`, as it is on disk, into the tree `to`.
pub fn lay(from: &Path, to: &Path) -> Result<()> {
    for part in HARNESS {
        let (from, to) = (from.join(part), to.join(part));
        if to.is_dir() {
            fs::remove_dir_all(&to).with_context(|| format!("{}", to.display()))?;
        }
        copy(&from, &to)?;
    }
    let [from, to] = [from, to].map(|tree| tree.join("Cargo.toml"));
    let read =
        |file: &Path| fs::read_to_string(file).with_context(|| format!("{}", file.display()));
    fs::write(&to, with_dependencies(&read(&to)?, &read(&from)?)?)?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        fs::copy(from, to).with_context(|| format!("{}", from.display()))?;
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("{}", from.display()))? {
        let name = entry?.file_name();
        copy(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}

/// The other tree's manifest, with the workspace's dependencies that only this one
/// has: the harness may have come to need one. What both have stays at the other's
/// version, since that may be what is compared.
fn with_dependencies(other: &str, this: &str) -> Result<String> {
    let mut other: DocumentMut = other.parse()?;
    let this: DocumentMut = this.parse()?;
    let ours = this.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let theirs = other.get_mut("workspace").and_then(|workspace| workspace.get_mut("dependencies"));
    if let (Some(ours), Some(theirs)) =
        (ours.and_then(Item::as_table_like), theirs.and_then(Item::as_table_like_mut))
    {
        for (name, dependency) in ours.iter().filter(|(_, item)| !item.is_none()) {
            if !theirs.contains_key(name) {
                theirs.insert(name, dependency.clone());
            }
        }
    }
    Ok(other.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_that_only_this_tree_has_is_added_and_no_version_changes() {
        let other = "[workspace.dependencies]\nhyper = \"1.1\" # as it was\n";
        let this = "[workspace.dependencies]\nhyper = \"1.2\"\ndhat = \"0.3\"\n\
                    [workspace.dependencies.sqlx]\nversion = \"0.9\"\n";
        let merged = with_dependencies(other, this).unwrap();
        assert!(merged.starts_with(other), "{merged}");
        let merged: DocumentMut = merged.parse().unwrap();
        let dependencies = &merged["workspace"]["dependencies"];
        assert_eq!(dependencies["dhat"].as_str(), Some("0.3"));
        assert_eq!(dependencies["sqlx"]["version"].as_str(), Some("0.9"));
    }

    #[test]
    fn the_harness_is_replaced_and_the_rest_stays() {
        let folder = std::env::temp_dir().join(format!("overlay-{}", std::process::id()));
        let write = |file: &str, text: &str| {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        for tree in ["this", "other"] {
            for part in ["tests/memory/main.rs", "crates/meter/lib.rs", "crates/devdb/lib.rs"] {
                write(&format!("{tree}/{part}"), tree);
            }
            write(&format!("{tree}/budgets.toml"), tree);
            write(&format!("{tree}/crates/server/lib.rs"), tree);
            write(&format!("{tree}/Cargo.toml"), "[workspace.dependencies]\n");
        }
        write("other/tests/memory/cases/old.rs", "other");
        lay(&folder.join("this"), &folder.join("other")).unwrap();
        let read = |file: &str| fs::read_to_string(folder.join("other").join(file)).ok();
        assert_eq!(read("tests/memory/main.rs").as_deref(), Some("this"));
        assert_eq!(read("budgets.toml").as_deref(), Some("this"));
        assert_eq!(read("crates/server/lib.rs").as_deref(), Some("other"));
        assert_eq!(read("tests/memory/cases/old.rs"), None);
        fs::remove_dir_all(&folder).unwrap();
    }
}
