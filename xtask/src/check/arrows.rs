//! The arrows between crates: who may depend on whom.

use anyhow::bail;

use super::metadata::{self, Metadata};

/// A crate, and those of ours that it may depend on.
struct Row {
    name: &'static str,
    /// As a normal or a build dependency.
    product: &'static [&'static str],
    /// For its own tests, besides.
    tests: &'static [&'static str],
}

/// Every crate. What is not here is forbidden.
const ROWS: &[Row] = &[
    // Leaves. streaming and storage have none of ours in their tests either,
    // so that either can be taken home as it is.
    Row { name: "streaming", product: &[], tests: &[] },
    Row { name: "storage", product: &[], tests: &[] },
    Row { name: "budget", product: &[], tests: &[] },
    Row { name: "meter", product: &[], tests: &[] },
    Row { name: "devdb", product: &[], tests: &[] },
    Row { name: "handler", product: &["streaming", "storage"], tests: &["meter", "devdb"] },
    // The server wires: it makes the blob store and the pool that handler is
    // given, and reads each pattern's cost for the plan. So it sees all four.
    Row {
        name: "server",
        product: &["handler", "budget", "streaming", "storage"],
        tests: &["meter", "devdb"],
    },
    // Nothing depends on these three. xtask sees no part of the product: it is
    // built before every command, and has to be so quickly.
    Row {
        name: "tests",
        product: &["server", "handler", "budget", "streaming", "storage", "meter", "devdb"],
        tests: &[],
    },
    // Sees the service as a process only, as it does its peers.
    Row { name: "bench", product: &["meter", "devdb"], tests: &[] },
    Row { name: "xtask", product: &["meter", "devdb"], tests: &[] },
];

/// Fails if a crate depends on one that it may not depend on.
pub fn check() -> anyhow::Result<()> {
    let forbidden = forbidden(&metadata::read()?);
    if !forbidden.is_empty() {
        bail!("{}", forbidden.join("\n"));
    }
    Ok(())
}

/// A line for each arrow that is not in [`ROWS`].
fn forbidden(metadata: &Metadata) -> Vec<String> {
    let mut lines = Vec::new();
    for package in &metadata.packages {
        let from = &package.name;
        let Some(row) = ROWS.iter().find(|row| row.name == from) else {
            lines.push(format!("{from} has no row in {}: say what it may depend on", file!()));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|found| found.path.is_some()) {
            let to = dependency.name.as_str();
            let for_tests = dependency.kind.as_deref() == Some("dev");
            if row.product.contains(&to) || for_tests && row.tests.contains(&to) {
                continue;
            }
            let kind = dependency.kind.as_deref().unwrap_or("normal");
            lines.push(format!("{from} → {to} is forbidden (a {kind} dependency)"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace of one crate with one dependency of ours.
    fn workspace(from: &str, to: &str, kind: Option<&str>) -> Metadata {
        let dependency = serde_json::json!({ "name": to, "kind": kind, "path": "/somewhere" });
        let package = serde_json::json!({
            "name": from, "manifest_path": "Cargo.toml", "dependencies": [dependency]
        });
        let metadata = serde_json::json!({ "packages": [package], "target_directory": "target" });
        serde_json::from_value(metadata).unwrap()
    }

    #[test]
    fn this_workspace_keeps_to_the_arrows() {
        check().unwrap();
    }

    #[test]
    fn what_is_not_allowed_is_found() {
        for (from, to, kind) in [
            ("streaming", "budget", None),
            ("streaming", "meter", Some("dev")),
            ("storage", "streaming", Some("build")),
            ("storage", "devdb", Some("dev")),
            ("budget", "streaming", None),
            ("handler", "server", None),
            ("handler", "budget", None),
            ("server", "meter", None),
            ("server", "devdb", Some("build")),
            ("server", "tests", Some("dev")),
            ("tests", "xtask", None),
            ("xtask", "server", None),
        ] {
            let found = forbidden(&workspace(from, to, kind));
            assert_eq!(found.len(), 1, "{from} → {to} as {kind:?}: {found:?}");
            assert!(found[0].contains(&format!("{from} → {to}")), "{found:?}");
        }
    }

    #[test]
    fn what_is_allowed_passes() {
        for (from, to, kind) in [
            ("handler", "streaming", None),
            ("server", "budget", None),
            ("server", "devdb", Some("dev")),
            ("tests", "meter", None),
            ("xtask", "devdb", None),
        ] {
            assert_eq!(forbidden(&workspace(from, to, kind)), [""; 0], "{from} → {to}");
        }
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        let found = forbidden(&workspace("newcomer", "streaming", None));
        assert!(found[0].starts_with("newcomer has no row"), "{found:?}");
    }

    #[test]
    fn a_crate_of_others_by_the_same_name_is_not_ours() {
        let mut metadata = workspace("streaming", "budget", None);
        metadata.packages[0].dependencies[0].path = None;
        assert_eq!(forbidden(&metadata), [""; 0]);
    }
}
