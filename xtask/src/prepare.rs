//! `cargo xtask prepare`: `.sqlx/`, against which queries are checked where there is no database.
//!
//! The queries are compiled once against a database that the migrations have made; sqlx's macros
//! then write what they learn. It happens in a temporary directory, and `.sqlx/` changes only when
//! all of it has worked: a half-written one would keep the workspace from compiling.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use devdb::{Cluster, Purpose};

use crate::child::{self, Signals, say};

/// The only crate with checked queries.
const PACKAGE: &str = "storage";

/// Its database; made anew each time.
const DATABASE: &str = "prepare";

/// Whether to write.
#[derive(clap::Args)]
pub struct Options {
    /// Write nothing; fail if .sqlx/ does not fit the queries and migrations, and name the files
    #[arg(long)]
    check: bool,
}

/// Files by name.
type Files = BTreeMap<String, Vec<u8>>;

/// Fails if a query does not fit the migrations; exits with 1 if `--check` finds a difference.
pub fn run(options: Options) -> Result<ExitCode> {
    let checkout = child::checkout();
    let cluster = Cluster::start(Purpose::Test, &checkout, &mut say)
        .context("prepare takes a private Postgres, whatever DATABASE_URL is")?;
    let signals = Signals::catch()?;
    let fresh = migrate(&cluster, &checkout.join("migrations"))
        .and_then(|()| describe(&cluster.url(DATABASE), &checkout, &signals));
    cluster.stop()?;
    let fresh = fresh?;
    // No query at all would be a success as well, and delete everything.
    ensure!(!fresh.is_empty(), "no checked query was found in {PACKAGE}");

    let committed = checkout.join(".sqlx");
    let differences = compare(&read(&committed)?, &fresh);
    for (name, difference) in &differences {
        println!(".sqlx/{name}: {difference}");
    }
    match (differences.is_empty(), options.check) {
        (true, _) => println!(".sqlx/ fits: {} queries", fresh.len()),
        (false, true) => {
            println!("To renew it: cargo xtask prepare");
            return Ok(ExitCode::FAILURE);
        }
        (false, false) => write(&committed, &fresh, &differences)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the database and runs the migrations on it, each file in one transaction. The server's
/// own `migrate` can't be used: when `.sqlx/` is stale, the server does not compile.
fn migrate(cluster: &Cluster, migrations: &Path) -> Result<()> {
    cluster.execute("postgres", &format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"))?;
    cluster.create_database(DATABASE)?;
    for (file, sql) in in_order(read(migrations)?)? {
        let sql = String::from_utf8(sql).with_context(|| format!("migrations/{file}"))?;
        cluster.execute(DATABASE, &sql).with_context(|| format!("migrations/{file}"))?;
    }
    Ok(())
}

/// As sqlx orders them: by the number before the first underscore. What undoes one is left out.
fn in_order(migrations: Files) -> Result<Vec<(String, Vec<u8>)>> {
    let mut numbered = Vec::new();
    for (name, sql) in migrations {
        if name.ends_with(".sql") && !name.ends_with(".down.sql") {
            let number = name.split('_').next().and_then(|number| number.parse::<i64>().ok());
            let number = number.with_context(|| format!("migrations/{name} has no number"))?;
            numbered.push((number, (name, sql)));
        }
    }
    numbered.sort_by_key(|(number, _)| *number);
    Ok(numbered.into_iter().map(|(_, migration)| migration).collect())
}

/// Compiles the queries against the database; returns what sqlx's macros wrote.
fn describe(url: &str, checkout: &Path, signals: &Signals) -> Result<Files> {
    let out = Scratch::new()?;
    let touched = Touched::new(&checkout.join("crates").join(PACKAGE))?;
    let status = child::cargo(signals, |cargo| {
        // What is set in the environment wins over .cargo/config.toml.
        cargo.args(["check", "--package", PACKAGE, "--all-targets"]);
        cargo.env("SQLX_OFFLINE", "false").env("SQLX_OFFLINE_DIR", &out.0);
        cargo.env("DATABASE_URL", url);
    })?;
    drop(touched);
    if !status.success() {
        bail!("a query in {PACKAGE} does not fit the migrations, or it does not compile");
    }
    read(&out.0)
}

/// A temporary directory, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch> {
        let dir = env::temp_dir().join(format!("sqlx-prepare-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
        Ok(Scratch(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A crate's sources with a new time of change, so that cargo compiles them again. They get their
/// old one back at the end, so that it does not compile everything above them again as well.
struct Touched(Vec<(File, SystemTime)>);

impl Touched {
    fn new(package: &Path) -> Result<Touched> {
        let mut touched = Touched(Vec::new());
        touched.add(package).with_context(|| format!("touching {}", package.display()))?;
        Ok(touched)
    }

    fn add(&mut self, dir: &Path) -> std::io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                self.add(&path)?;
            } else if path.extension() == Some(OsStr::new("rs")) {
                let file = File::options().append(true).open(&path)?;
                let before = file.metadata()?.modified()?;
                file.set_modified(SystemTime::now())?;
                self.0.push((file, before));
            }
        }
        Ok(())
    }
}

impl Drop for Touched {
    fn drop(&mut self) {
        for (file, before) in &self.0 {
            let _ = file.set_modified(*before);
        }
    }
}

/// The files of a directory, none if it does not exist. They are source files: small.
fn read(dir: &Path) -> Result<Files> {
    let mut files = Files::new();
    if !dir.exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        if let Some(name) = path.file_name().and_then(OsStr::to_str).filter(|_| path.is_file()) {
            let content = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            files.insert(name.to_owned(), content);
        }
    }
    Ok(files)
}

/// Each file that differs, and how.
fn compare(committed: &Files, fresh: &Files) -> Vec<(String, &'static str)> {
    let gone = committed.keys().filter(|name| !fresh.contains_key(*name));
    let gone = gone.map(|name| (name.clone(), "no query has it"));
    let other = fresh.iter().filter_map(|(name, content)| match committed.get(name) {
        None => Some((name.clone(), "missing")),
        Some(old) if old != content => Some((name.clone(), "changed")),
        Some(_) => None,
    });
    gone.chain(other).collect()
}

fn write(dir: &Path, fresh: &Files, differences: &[(String, &'static str)]) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    for (name, _) in differences {
        let path = dir.join(name);
        match fresh.get(name) {
            Some(content) => fs::write(&path, content),
            None => fs::remove_file(&path),
        }
        .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(entries: &[(&str, &str)]) -> Files {
        entries.iter().map(|(name, content)| ((*name).into(), (*content).into())).collect()
    }

    #[test]
    fn migrations_run_in_the_order_of_their_numbers() {
        let found = files(&[
            ("10_last.sql", ""),
            ("2_second.sql", ""),
            ("0001_first.up.sql", ""),
            ("0001_first.down.sql", ""),
            ("README.md", ""),
        ]);
        let order: Vec<_> = in_order(found).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(order, ["0001_first.up.sql", "2_second.sql", "10_last.sql"]);
        assert!(in_order(files(&[("first.sql", "")])).is_err());
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let committed = files(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let fresh = files(&[("b", "1"), ("c", "2"), ("d", "1")]);
        let expected = [("a", "no query has it"), ("c", "changed"), ("d", "missing")];
        assert_eq!(compare(&committed, &fresh), expected.map(|(name, how)| (name.into(), how)));
        assert_eq!(compare(&fresh, &fresh), []);
    }

    #[test]
    fn writing_makes_a_directory_equal() {
        let dir = Scratch::new().unwrap();
        let (old, new) = (files(&[("a", "1"), ("b", "1")]), files(&[("b", "2"), ("c", "1")]));
        write(&dir.0, &old, &compare(&Files::new(), &old)).unwrap();
        assert_eq!(read(&dir.0).unwrap(), old);
        write(&dir.0, &new, &compare(&old, &new)).unwrap();
        assert_eq!(read(&dir.0).unwrap(), new);
    }
}
