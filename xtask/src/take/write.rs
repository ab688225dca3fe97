//! Writing a taken crate: the pattern's files as they are, what they stand on, and a
//! test that holds its budgets.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use toml::{Table, Value};

use super::budgets;
use super::manifest::{self, Workspace};
use super::pattern::Pattern;

/// What the taken crate is called by its own test, whatever its pattern.
const LIB: &str = "pattern";

/// Where a case measures: not told in a taken one.
const TIER: &str = "    tier: Tier::A,\n";

/// The rig's files, as they are.
const RIG: [&str; 5] = ["client.rs", "content.rs", "measure.rs", "pipe.rs", "service.rs"];

/// Those that a case may need beside them: where from, which, and what shows the need.
const MORE_OF_THE_RIG: [(&str, &str, &str); 4] = [
    ("xtask/take", "http1", "rig::http1"),
    ("xtask/take", "postgres", "postgres::with("),
    ("tests/memory/rig", "rows", "rows::grow("),
    ("tests/memory/rig", "frames", "rig::frames"),
];

/// What ends its manifest.
const END: &str = "
# It is a workspace of its own; what it stands on has its tests where it comes from.
[workspace]
exclude = [\"crates\"]

[profile.dev]
debug = \"line-tables-only\"

[profile.dev.package.sha2]
opt-level = 3 # tests hash hundreds of MiB
";

/// Writes `pattern` of the workspace `root` to `folder`, which must be empty or not
/// there.
pub fn write(pattern: &Pattern, root: &Path, folder: &Path) -> Result<()> {
    let is_empty = fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    ensure!(is_empty, "{} is not empty: nothing was written", folder.display());
    let out = Out { root, folder };
    let origin = root.join("crates").join(pattern.origin);

    let sources = out.sources(pattern, &origin)?;
    let tests = out.test(pattern)?;
    for name in pattern.crates.iter().chain(&["meter"]) {
        out.our_crate(name)?;
    }
    if pattern.postgres {
        out.copy_folder("migrations", "migrations")?;
    }
    if pattern.crates.contains(&"storage") {
        // What its queries are checked against where there is no database. Beside it: it
        // is no member of the workspace.
        out.copy_folder(".sqlx", "crates/storage/.sqlx")?;
        out.write(".cargo/config.toml", "[env]\nSQLX_OFFLINE = \"true\"\n")?;
    }
    out.write("budgets.toml", &out.budgets(pattern)?)?;
    out.write("README.md", &readme(pattern))?;
    // The versions that it was tested with; cargo leaves out what is not needed.
    out.copy("Cargo.lock", "Cargo.lock")?;

    let workspace = Workspace::read(root)?;
    let ours = manifest::list(&origin.join("Cargo.toml"), "dependencies")?;
    let tests_manifest = root.join("tests/Cargo.toml");
    let of_tests = [
        manifest::list(&tests_manifest, "dependencies")?,
        manifest::list(&tests_manifest, "dev-dependencies")?,
    ];
    let dependencies = workspace.dependencies(&[&ours], &sources);
    let [normal, dev] = &of_tests;
    let mut dev = workspace.dependencies(&[&ours, normal, dev], &tests);
    let own = manifest::list(&origin.join("Cargo.toml"), "dev-dependencies")?;
    dev.extend(workspace.dependencies(&[&own, &ours], &sources).into_iter().filter(|(name, _)| {
        // For the unit tests that the files have.
        own.contains_key(name)
    }));
    let description = format!("{}: {}", pattern.name, pattern.about);
    let mut text = Table::new();
    text.insert("package".into(), workspace.package(&package(pattern), &description).into());
    text.insert("lib".into(), Table::from_iter([("name".to_owned(), LIB.into())]).into());
    text.insert("dependencies".into(), dependencies.into());
    text.insert("dev-dependencies".into(), dev.into());
    text.insert("lints".into(), workspace.lints().into());
    let test = [("name", Value::from("memory")), ("path", "tests/memory/main.rs".into())];
    let mut test: Table = test.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
    test.insert("harness".into(), false.into());
    text.insert("test".into(), Value::Array(vec![test.into()]));
    let text = toml::to_string_pretty(&text)?;
    out.write("Cargo.toml", &format!("{text}{END}"))
}

/// The package's name.
pub fn package(pattern: &Pattern) -> String {
    format!("{}-pattern", pattern.name.replace('_', "-"))
}

/// From where, and to where.
struct Out<'a> {
    root: &'a Path,
    folder: &'a Path,
}

impl Out<'_> {
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        let parent = path.parent().context("a folder")?;
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    fn read(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.root.join(name)).with_context(|| name.to_owned())
    }

    fn copy(&self, from: &str, to: &str) -> Result<String> {
        let text = self.read(from)?;
        self.write(to, &text)?;
        Ok(text)
    }

    /// Copies a folder, and returns the texts.
    fn copy_folder(&self, from: &str, to: &str) -> Result<Vec<String>> {
        files(&self.root.join(from))?
            .into_iter()
            .map(|file| {
                let name = file.strip_prefix(self.root.join(from))?.display().to_string();
                self.copy(&format!("{from}/{name}"), &format!("{to}/{name}"))
            })
            .collect()
    }

    /// The pattern's own files; returns their texts.
    fn sources(&self, pattern: &Pattern, origin: &Path) -> Result<Vec<String>> {
        let from = format!("crates/{}/src", pattern.origin);
        if pattern.files.is_empty() {
            return self.copy_folder(&from, "src");
        }
        let mut texts = Vec::new();
        let mut lib = format!(
            "//! {}: {}.\n//!\n//! Taken from the crate `{}` of Plimsoll by `cargo xtask take`.\n\n",
            pattern.name, pattern.about, pattern.origin
        );
        let theirs = fs::read_to_string(origin.join("src/lib.rs"))?;
        for file in pattern.files {
            texts.push(self.copy(&format!("{from}/{file}"), &format!("src/{file}"))?);
            let module = file.trim_end_matches(".rs");
            if !module.contains('/') {
                // As public as it is there.
                let is_private = theirs.contains(&format!("\nmod {module};"));
                lib += if is_private { "mod " } else { "pub mod " };
                lib += &format!("{module};\n");
            }
        }
        if !pattern.exports.is_empty() {
            lib += &format!("\n{}\n", pattern.exports);
        }
        self.write("src/lib.rs", &lib)?;
        texts.push(lib);
        Ok(texts)
    }

    /// The test; returns its texts.
    fn test(&self, pattern: &Pattern) -> Result<Vec<String>> {
        let name = pattern.name;
        let mut texts = Vec::new();
        for file in RIG {
            let (from, to) =
                (format!("tests/memory/rig/{file}"), format!("tests/memory/rig/{file}"));
            texts.push(self.copy(&from, &to)?);
        }
        let mut rig = self.read("xtask/take/rig.rs")?;
        let case = self.case(pattern)?;
        for (folder, file, use_of_it) in MORE_OF_THE_RIG {
            if !case.contains(use_of_it) {
                continue;
            }
            let (from, to) = (format!("{folder}/{file}.rs"), format!("tests/memory/rig/{file}.rs"));
            texts.push(self.copy(&from, &to)?);
            rig = rig.replace("pub mod pipe;", &format!("pub mod pipe;\npub mod {file};"));
        }
        self.write("tests/memory/rig/mod.rs", &rig)?;
        let main = self.copy("xtask/take/main.rs", "tests/memory/main.rs")?;
        self.write(&format!("tests/memory/cases/{name}.rs"), &case)?;
        let all = self.read("tests/memory/cases/mod.rs")?;
        let structure = all.find("/// A pattern and its naive twin.").map(|at| &all[at..]);
        let structure = structure.and_then(|text| text.split_inclusive("\n}\n").next());
        let structure = structure.context("tests/memory/cases/mod.rs has no struct Case")?;
        // There is one tier here: the test's own process.
        let structure = structure.replace("    pub tier: Tier,\n", "");
        let cases = format!(
            "//! The case.\n#![allow(dead_code, reason = \"as it is there\")]\n\n\
             use anyhow::Result;\nuse meter::Report;\n\nmod {name};\npub use {name}::CASE;\n\n{structure}"
        );
        self.write("tests/memory/cases/mod.rs", &cases)?;
        texts.extend([rig, main, case, cases]);
        Ok(texts)
    }

    /// The case, in the names of the taken crate.
    fn case(&self, pattern: &Pattern) -> Result<String> {
        let name = pattern.name;
        if !pattern.case_as_it_is {
            return self.read(&format!("xtask/take/{name}.rs"));
        }
        let text = self.read(&format!("tests/memory/cases/{name}.rs"))?;
        let text = text.replace(&format!("use {}::", pattern.origin), &format!("use {LIB}::"));
        Ok(text.replace("use super::{Case, Tier};", "use super::Case;").replace(TIER, ""))
    }

    /// A crate of ours, whole, with a manifest that needs no workspace.
    fn our_crate(&self, name: &str) -> Result<()> {
        let from = format!("crates/{name}");
        self.copy_folder(&format!("{from}/src"), &format!("crates/{name}/src"))?;
        let manifest = self.root.join(&from).join("Cargo.toml");
        let about = manifest::list(&manifest, "package")?;
        let about = about.get("description").and_then(Value::as_str).unwrap_or_default();
        let workspace = Workspace::read(self.root)?;
        let dependencies = workspace.resolved(&manifest::list(&manifest, "dependencies")?);
        let mut text = Table::new();
        text.insert("package".into(), workspace.package(name, about).into());
        text.insert("dependencies".into(), dependencies.into());
        text.insert("lints".into(), workspace.lints().into());
        self.write(&format!("crates/{name}/Cargo.toml"), &toml::to_string_pretty(&text)?)
    }

    fn budgets(&self, pattern: &Pattern) -> Result<String> {
        let budgets = budgets::of(&self.read("budgets.toml")?, pattern.name, pattern.metrics)?;
        ensure!(!budgets.is_empty(), "budgets.toml has no case {}", pattern.name);
        Ok(budgets)
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn readme(pattern: &Pattern) -> String {
    let Pattern { name, about, origin, .. } = pattern;
    let needs = if pattern.postgres {
        "It needs a Postgres: DATABASE_URL names one, whose role may create databases. \
         Without, the test fails.\n\n"
    } else {
        ""
    };
    format!(
        "# {name}\n\n{about}.\n\n\
         Taken from the crate `{origin}` of Plimsoll by `cargo xtask take {name}`: the files in \
         `src/` are as they are there.\n\n\
         ```sh\ncargo test\n```\n\n\
         measures the pattern beside its naive twin, and holds both to `budgets.toml`. {needs}\
         `crates/meter/` is what counts: it knows nothing of the pattern.\n\n\
         To make it a part of a workspace, take `[workspace]` and what follows it out of \
         `Cargo.toml`.\n"
    )
}
