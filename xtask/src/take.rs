//! `cargo xtask take`: a pattern, with its memory test, as a crate by itself.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use devdb::{Database, Purpose};

use crate::check::metadata;
use crate::child::{self, Signals, say};

mod budgets;
mod manifest;
mod pattern;
mod write;

use pattern::Pattern;

/// What to take, and where to.
#[derive(clap::Args)]
pub struct Options {
    /// The pattern; with --all, where to
    #[arg(value_name = "PATTERN", required_unless_present = "list")]
    first: Option<String>,
    /// Where to: a folder that is empty or not there
    #[arg(value_name = "DIR")]
    second: Option<PathBuf>,
    /// Names the patterns, and takes none
    #[arg(long)]
    list: bool,
    /// Takes every pattern, each to a folder of its name in DIR
    #[arg(long)]
    all: bool,
    /// Builds and tests what was taken
    ///
    /// Those that need a Postgres get a private one, unless DATABASE_URL is set.
    #[arg(long)]
    check: bool,
}

/// Takes what was asked for.
pub fn run(options: Options) -> Result<ExitCode> {
    if options.list {
        for Pattern { name, about, postgres, .. } in pattern::ALL {
            let needs = if *postgres { " (its test needs a Postgres)" } else { "" };
            println!("{name:<12} {about}{needs}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let taken = select(&options)?;
    for (pattern, folder) in &taken {
        write::write(pattern, &child::checkout(), folder)?;
        println!("{:<12} {}", pattern.name, folder.display());
    }
    if !options.check {
        return Ok(ExitCode::SUCCESS);
    }
    let signals = Signals::catch()?;
    if !taken.iter().any(|(pattern, _)| pattern.postgres) {
        return check(&signals, &taken, None);
    }
    let database = Database::open(Purpose::Test, &child::checkout(), &mut say)?;
    let url = database.url("postgres");
    let code = url.map_err(anyhow::Error::from).and_then(|url| check(&signals, &taken, Some(&url)));
    database.stop()?;
    code
}

/// Which patterns go where.
fn select(options: &Options) -> Result<Vec<(&'static Pattern, PathBuf)>> {
    match (options.all, &options.first, &options.second) {
        (true, Some(folder), None) => {
            let folder = Path::new(folder);
            Ok(pattern::ALL.iter().map(|pattern| (pattern, folder.join(pattern.name))).collect())
        }
        (false, Some(name), Some(folder)) => {
            let pattern = pattern::find(name);
            let pattern =
                pattern.with_context(|| format!("no pattern is named {name}: see --list"))?;
            Ok(vec![(pattern, folder.clone())])
        }
        _ => bail!("usage: cargo xtask take PATTERN DIR, or: cargo xtask take --all DIR"),
    }
}

/// Tests each crate, all with one target folder.
fn check(signals: &Signals, taken: &[(&Pattern, PathBuf)], url: Option<&str>) -> Result<ExitCode> {
    let target = metadata::read()?.target_directory.join("take");
    let mut lines = Vec::new();
    let mut all = true;
    for (pattern, folder) in taken {
        println!("\n== {}", pattern.name);
        let begin = Instant::now();
        let status = child::cargo(signals, |cargo| configure(cargo, folder, &target, url))?;
        ensure!(!signals.came(), "interrupted");
        all &= status.success();
        let verdict = if status.success() { "ok" } else { "FAILED" };
        let took = begin.elapsed().as_secs_f32();
        lines.push(format!("{:<12} {verdict:<7} {took:>6.1} s", pattern.name));
    }
    println!("\n{}", lines.join("\n"));
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn configure(cargo: &mut Command, folder: &Path, target: &Path, url: Option<&str>) {
    // What is in the lock file and not needed is left out, which --locked forbids.
    cargo.arg("test").current_dir(folder).env("CARGO_TARGET_DIR", target);
    match url {
        Some(url) => cargo.env("DATABASE_URL", url),
        None => cargo.env_remove("DATABASE_URL"),
    };
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("take-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn options(first: &str, second: Option<PathBuf>, all: bool) -> Options {
        Options { first: Some(first.into()), second, list: false, all, check: false }
    }

    #[test]
    fn a_pattern_that_is_not_there_is_told() {
        let error = run(options("uploads", Some(folder("none")), false)).unwrap_err();
        assert!(error.to_string().contains("no pattern is named uploads"), "{error}");
        assert!(run(options("upload", None, false)).is_err());
    }

    #[test]
    fn what_is_there_is_not_written_over() {
        let folder = folder("full");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("mine"), "").unwrap();
        let error = run(options("cache", Some(folder.clone()), false)).unwrap_err();
        assert!(error.to_string().contains("is not empty"), "{error}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn every_pattern_is_written_whole() {
        let folder = folder("all");
        run(options(folder.to_str().unwrap(), None, true)).unwrap();
        for pattern in pattern::ALL {
            let folder = folder.join(pattern.name);
            let budgets = fs::read_to_string(folder.join("budgets.toml")).unwrap();
            assert!(budgets.contains("must_violate = { "), "{}: {budgets}", pattern.name);
            for metric in pattern.metrics {
                let header = format!("[{}.{metric}]", pattern.name);
                assert!(budgets.contains(&header), "{header}");
            }
            let manifest: toml::Table =
                fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap();
            assert_eq!(
                manifest["dev-dependencies"]["meter"]["path"].as_str(),
                Some("crates/meter")
            );
            let cases = fs::read_dir(folder.join("tests/memory/cases")).unwrap();
            for case in cases.map(|case| case.unwrap().path()) {
                let text = fs::read_to_string(&case).unwrap();
                assert!(!text.contains("Tier"), "{}: its rig has one", case.display());
            }
            assert!(
                folder.join("src/lib.rs").exists()
                    && folder.join("crates/meter/src/lib.rs").exists()
            );
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
