//! `memtest`: runs cases, prints the table, and exits by the verdicts.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use meter::{Budgets, Judgement, Run, budgets, judge, table};
use tests::database;

use crate::cases::{self, Case, Tier};
use crate::child;
use crate::rig;

/// Measures each pattern beside its naive twin and holds it to budgets.toml
///
/// Exit codes: 0 all hold, 1 a pattern could not be measured, 2 a budget is
/// broken, 3 a twin was not detected, 5 a budget or a figure is missing, 6
/// repetitions are too far apart. With several, 1 before 3 before 2 before 6
/// before 5.
#[derive(Parser)]
#[command(name = "memtest")]
struct Options {
    /// Cases to run; all without any
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
    /// Only cases of this tier
    #[arg(long, value_enum, ignore_case = true)]
    tier: Option<Tier>,
    /// Names the cases and runs none
    #[arg(long)]
    list: bool,
    /// What goes to stdout
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Writes the figures into budgets.toml as last recorded; never a ceiling
    #[arg(long)]
    update: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

pub fn main(arguments: &[String]) -> ExitCode {
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            // clap's own code, 2, would say that a budget is broken.
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match run(&options) {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<u8> {
    let selected = select(options)?;
    if options.list {
        selected.iter().for_each(|case| println!("{:<12} {}", case.name, case.about));
        return Ok(0);
    }
    let budgets = read_budgets()?; // before minutes of measuring
    rig::run(database::sweep())?;
    let runs: Vec<Run> =
        selected.iter().map(|case| child::run(case, |line| eprintln!("{line}"))).collect();
    rig::run(database::sweep())?;
    let whole = options.cases.is_empty() && options.tier.is_none();
    let judgement = judge(&budgets, &runs, whole);
    match options.format {
        Format::Table => print!("{}", table(&judgement)),
        Format::Json => println!("{}", serde_json::to_string_pretty(&judgement)?),
    }
    if options.update {
        update(&judgement)?;
    }
    Ok(judgement.exit_code())
}

fn select(options: &Options) -> Result<Vec<&'static Case>> {
    let in_tier = |case: &&Case| options.tier.is_none_or(|tier| tier == case.tier);
    if options.cases.is_empty() {
        return Ok(cases::ALL.iter().filter(in_tier).collect());
    }
    let known = || cases::ALL.iter().map(|case| case.name).collect::<Vec<_>>().join(", ");
    let find = |name: &String| match cases::find(name) {
        Some(case) => Ok(case),
        None => bail!("no case is named {name}; there are: {}", known()),
    };
    let named: Result<Vec<_>> = options.cases.iter().map(find).collect();
    let named: Vec<_> = named?.into_iter().filter(in_tier).collect();
    if named.is_empty() {
        bail!("none of the cases named is of this tier");
    }
    Ok(named)
}

fn budgets_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("budgets.toml")
}

/// Reads budgets.toml.
pub fn read_budgets() -> Result<Budgets> {
    let text = std::fs::read_to_string(budgets_file()).context("budgets.toml")?;
    Budgets::parse(&text).context("budgets.toml")
}

fn update(judgement: &Judgement) -> Result<()> {
    let file = budgets_file();
    let text = std::fs::read_to_string(&file).context("budgets.toml")?;
    let figures = judgement.cases.iter().flat_map(|case| {
        let figures = case.rows.iter().filter_map(|row| Some((row.metric.as_str(), row.now?)));
        figures.map(|(metric, now)| (case.case.as_str(), metric, now))
    });
    std::fs::write(&file, budgets::record(&text, figures)?).context("budgets.toml")?;
    eprintln!("budgets.toml: figures recorded");
    Ok(())
}
