//! `cargo xtask weigh`: what the service weighs, held to weigh.toml.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::binary::{self, Built, Profile};
use crate::child::{self, Signals};

mod judge;
mod scales;
mod table;

use judge::{Budgets, Row};

/// What `--help` says beside the usage.
const HELP: &str = "\
Exit codes: 0 all hold, 1 a build or a tool failed, 2 a budget is broken.";

/// A budget is broken, as `cargo xtask memtest` has it.
const BROKEN: u8 = 2;

/// How to tell.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Options {
    /// What goes to stdout
    #[arg(long, value_enum, default_value_t = table::Format::Table)]
    format: table::Format,
}

/// Builds the shipping profile, and holds it and the dependencies to their budgets.
pub fn run(options: Options) -> Result<ExitCode> {
    let budgets = budgets()?;
    let signals = Signals::catch()?;
    let Built::Binary(binary) = binary::server(&signals, Profile::Dist)? else {
        return Ok(ExitCode::FAILURE);
    };
    let size = fs::metadata(&binary).with_context(|| format!("{}", binary.display()))?.len();
    let mut rows = vec![judge::binary(size, budgets.binary)];
    rows.extend(dependencies(&budgets)?);
    print!("{}", table::render(&rows, options.format));
    Ok(if rows.iter().any(Row::is_broken) { BROKEN.into() } else { ExitCode::SUCCESS })
}

/// What takes no build: a step of `cargo xtask check`.
pub fn check() -> Result<()> {
    let rows = dependencies(&budgets()?)?;
    print!("{}", table::render(&rows, table::Format::Table));
    anyhow::ensure!(!rows.iter().any(Row::is_broken), "weigh.toml has what each is for");
    Ok(())
}

fn budgets() -> Result<Budgets> {
    let text = fs::read_to_string(child::checkout().join("weigh.toml")).context("weigh.toml")?;
    toml::from_str(&text).context("weigh.toml")
}

fn dependencies(budgets: &Budgets) -> Result<Vec<Row>> {
    let (shipped, built) = (scales::tree(scales::SHIPPED)?, scales::tree(scales::BUILT)?);
    Ok(vec![
        judge::count("crates in it", shipped.len(), budgets.crates),
        judge::count("crates to build it", built.len(), budgets.crates_to_build),
        judge::list("in two versions", scales::duplicates(&built), budgets.duplicates),
        judge::explained(&scales::defaults()?, &budgets.defaults),
    ])
}
