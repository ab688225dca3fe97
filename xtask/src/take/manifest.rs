//! The manifest of a taken crate: the dependencies that its files name, at the
//! workspace's versions.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

/// The workspace's manifest.
pub struct Workspace(Table);

impl Workspace {
    /// Reads the one in `root`.
    pub fn read(root: &Path) -> Result<Self> {
        read(&root.join("Cargo.toml")).map(Self)
    }

    /// What `[workspace]` has under `key`.
    fn table(&self, key: &str) -> Table {
        let workspace = self.0.get("workspace").and_then(Value::as_table);
        let table = workspace.and_then(|workspace| workspace.get(key)).and_then(Value::as_table);
        table.cloned().unwrap_or_default()
    }

    /// Those dependencies that `texts` name, each as `members` have it: with the
    /// features that these add. A crate of ours is a folder in `crates/`, as it is there.
    pub fn dependencies(&self, members: &[&Table], texts: &[String]) -> Table {
        let mut found = Table::new();
        for (name, root) in self.table("dependencies") {
            if texts.iter().any(|text| names(text, &name)) {
                let more = members.iter().filter_map(|member| member.get(&name));
                found.insert(name.clone(), resolve(root, more));
            }
        }
        found
    }

    /// All dependencies of a crate, resolved.
    pub fn resolved(&self, member: &Table) -> Table {
        let root = self.table("dependencies");
        let resolve = |(name, more): (&String, &Value)| {
            let root = root.get(name).cloned().unwrap_or(Value::String("*".to_owned()));
            (name.clone(), resolve(root, [more].into_iter()))
        };
        member.iter().map(resolve).collect()
    }

    /// `[package]`, as the workspace has it.
    pub fn package(&self, name: &str, description: &str) -> Table {
        let mut package = self.table("package");
        package.insert("name".into(), name.into());
        package.insert("description".into(), description.into());
        package
    }

    /// `[lints]`, as the workspace has them.
    pub fn lints(&self) -> Table {
        self.table("lints")
    }
}

/// A crate's `[dependencies]`, or another list of them.
pub fn list(manifest: &Path, key: &str) -> Result<Table> {
    let manifest = read(manifest)?;
    Ok(manifest.get(key).and_then(Value::as_table).cloned().unwrap_or_default())
}

fn read(path: &Path) -> Result<Table> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    text.parse().with_context(|| path.display().to_string())
}

/// A dependency as the root has it, with the features that members add.
fn resolve<'a>(root: Value, members: impl Iterator<Item = &'a Value>) -> Value {
    let mut table = match root {
        Value::Table(table) => table,
        version => Table::from_iter([("version".to_owned(), version)]),
    };
    if table.contains_key("path") {
        return Value::Table(table); // crates/NAME, there and here
    }
    let features = |value: &Value| value.get("features").and_then(Value::as_array).cloned();
    let mut all = table.get("features").and_then(Value::as_array).cloned().unwrap_or_default();
    for feature in members.filter_map(features).flatten() {
        if !all.contains(&feature) {
            all.push(feature);
        }
    }
    if !all.is_empty() {
        table.insert("features".into(), all.into());
    }
    match (table.len(), table.get("version")) {
        (1, Some(version)) => version.clone(),
        _ => Value::Table(table),
    }
}

/// Whether code names a crate: `name::`, but not as a part of a longer path or word.
fn names(text: &str, name: &str) -> bool {
    let path = format!("{}::", name.replace('-', "_"));
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.into_iter().any(|line| {
        line.match_indices(&path).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = r#"
[workspace.package]
edition = "2024"
[workspace.dependencies]
bytes = "1.12"
http-body = "1"
time = { version = "0.3", features = ["formatting"] }
tokio = { version = "1.54", default-features = false, features = ["sync"] }
meter = { path = "crates/meter" }
unused = "9"
"#;

    fn dependencies(member: &str, text: &str) -> Table {
        let member: Table = member.parse().unwrap();
        Workspace(ROOT.parse().unwrap()).dependencies(&[&member], &[text.to_owned()])
    }

    #[test]
    fn a_crate_is_taken_where_code_names_it_and_only_there() {
        let text = "//! unused::x\nuse bytes::Bytes;\nuse std::time::Duration;\n\
                    fn f() -> http_body::Frame { tokio::time::x() }\nmy_bytes::x;\n";
        let found = dependencies("", text);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["bytes", "http-body", "tokio"]);
        assert_eq!(found["bytes"].as_str(), Some("1.12"));
    }

    #[test]
    fn features_are_the_roots_and_the_members() {
        let member = "tokio = { workspace = true, features = [\"time\", \"sync\"] }";
        let tokio = dependencies(member, "use tokio::x;").remove("tokio").unwrap();
        let expected: Table =
            "version = \"1.54\"\ndefault-features = false\nfeatures = [\"sync\", \"time\"]"
                .parse()
                .unwrap();
        assert_eq!(tokio, Value::Table(expected));
    }

    #[test]
    fn a_crate_of_ours_is_a_folder_in_the_taken_crate() {
        let meter = dependencies("", "use meter::Probe;").remove("meter").unwrap();
        assert_eq!(meter.get("path").and_then(Value::as_str), Some("crates/meter"));
    }

    #[test]
    fn a_package_has_what_the_workspace_says() {
        let package = Workspace(ROOT.parse().unwrap()).package("upload", "about");
        assert_eq!(package["edition"].as_str(), Some("2024"));
        assert_eq!(package["name"].as_str(), Some("upload"));
    }
}
