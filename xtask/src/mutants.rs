//! `cargo xtask mutants`: every bound is removed once, and a test must notice.
//!
//! mutants.toml has a small change a bound. Each is made in a copy of the checkout
//! and built in the dev profile, which counts the same allocations as release; then
//! the tests that it names are run, and have to fail. They pass without it: that is
//! seen first.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use devdb::{Database, Purpose};

use crate::check::metadata;
use crate::child::{self, Signals, say};
use crate::tree::Tree;

mod claim;
pub mod list;
mod run;
mod said;
mod table;

use claim::Claim;
use list::Mutant;
use run::Bench;
use said::Said;
use table::{Fate, Row};

/// What `--help` says beside the usage.
const HELP: &str = "\
Exit codes: 0 all are caught, 1 a test fails without any, or could not be run, 2 a mutant is not
caught.";

/// A mutant that no test notices.
const SURVIVED: u8 = 2;

/// Which mutants to make.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Options {
    /// Mutants to make; all without any
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Names the mutants, each with its bound, and makes none
    #[arg(long)]
    list: bool,
}

/// Makes each mutant in turn, and tells what became of it.
pub fn run(options: Options) -> Result<ExitCode> {
    let mutants = list::read(&child::checkout())?;
    if options.list {
        mutants.iter().for_each(|mutant| println!("{:<34} {}", mutant.name, mutant.bound));
        return Ok(ExitCode::SUCCESS);
    }
    let mutants = select(&mutants, &options.names)?;
    let database = Database::open(Purpose::Test, &child::checkout(), &mut say)?;
    let signals = Signals::catch()?;
    let code = run_on(&database, &signals, &mutants);
    database.stop()?;
    code
}

fn select<'a>(mutants: &'a [Mutant], names: &[String]) -> Result<Vec<&'a Mutant>> {
    if names.is_empty() {
        return Ok(mutants.iter().collect());
    }
    let find = |name: &String| {
        let found = mutants.iter().find(|mutant| mutant.name == *name);
        found.with_context(|| format!("no mutant is named {name}: see --list"))
    };
    names.iter().map(find).collect()
}

fn run_on(database: &Database, signals: &Signals, mutants: &[&Mutant]) -> Result<ExitCode> {
    // Inside of the target folder, which every tool passes over.
    let folder = metadata::read()?.target_directory.join("mutants");
    let logs = folder.join("logs");
    let tree = Tree::copy(&folder)?;
    fs::create_dir_all(&logs)?;
    let bench = Bench {
        signals,
        tree: tree.folder(),
        target: folder.join("target"),
        database: database.url("postgres")?,
        programs: match database {
            Database::Private(cluster) => Some(cluster.bin_dir().to_owned()),
            _ => None,
        },
    };
    let log = |name: &str| -> Result<PathBuf> {
        let log = logs.join(format!("{name}.log"));
        fs::write(&log, "")?;
        Ok(log)
    };

    say("without any mutant:");
    unmutated(&bench, mutants, log("none")?)?;
    let mut rows = Vec::new();
    for mutant in mutants {
        ensure_uninterrupted(signals)?;
        let row = make(&bench, &tree, mutant, log(&mutant.name)?)?;
        ensure_uninterrupted(signals)?;
        print!("{}", row.tell());
        rows.push(row);
    }
    println!("\n{}", table::sum(&rows));
    let all = rows.iter().all(Row::is_caught);
    if !all {
        say(&format!("what was built and run: {}", logs.display()));
    }
    Ok(if all { ExitCode::SUCCESS } else { SURVIVED.into() })
}

/// A mutant, from its making to its unmaking.
fn make<'a>(bench: &Bench<'_>, tree: &Tree, mutant: &'a Mutant, log: PathBuf) -> Result<Row<'a>> {
    let begin = Instant::now();
    let applied = tree.apply(&mutant.edit)?;
    let fate = match bench.build(&mutant.caught_by, &log)? {
        None => Fate::Broken,
        Some(built) => Fate::Tested(bench.run(&built, &mutant.caught_by, mutant.hangs, &log)?),
    };
    drop(applied);
    Ok(Row { mutant, fate, took: begin.elapsed() })
}

/// Fails where a test that is named does not pass as the code is.
fn unmutated(bench: &Bench<'_>, mutants: &[&Mutant], log: PathBuf) -> Result<()> {
    let begin = Instant::now();
    let mut claims: Vec<Claim> =
        mutants.iter().flat_map(|mutant| mutant.caught_by.iter().cloned()).collect();
    claims.sort();
    claims.dedup();
    let Some(built) = bench.build(&claims, &log)? else {
        bail!("the code does not compile: {}", log.display());
    };
    say(&format!("  built in {:.0} s", begin.elapsed().as_secs_f32()));
    let said = bench.run(&built, &claims, false, &log)?;
    ensure_uninterrupted(bench.signals)?;
    let failed: Vec<String> = said
        .iter()
        .filter(|(_, said)| **said != Said::Green)
        .map(|(claim, said)| format!("{claim}: {said:?}"))
        .collect();
    ensure!(failed.is_empty(), "without any mutant ({}):\n{}", log.display(), failed.join("\n"));
    say(&format!("  {} tests pass; all in {:.0} s", said.len(), begin.elapsed().as_secs_f32()));
    Ok(())
}

fn ensure_uninterrupted(signals: &Signals) -> Result<()> {
    ensure!(!signals.came(), "interrupted");
    Ok(())
}
