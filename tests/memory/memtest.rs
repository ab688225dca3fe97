//! `memtest`: runs cases, prints the table, and exits by the verdicts.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use meter::{Budgets, Judgement, Run, Verdict, budgets, judge};
use tests::database;

use crate::cases::{self, Case, Tier};
use crate::child::{self, Progress, Variant};
use crate::rig;

/// Measures each pattern beside its naive twin and holds it to budgets.toml
///
/// Exit codes: 0 all hold, 1 a pattern could not be measured, 2 a budget is
/// broken, 3 a twin was not detected, 5 a budget or a figure is missing (in the
/// baseline too), 6 repetitions are too far apart. With several, 1 before 3
/// before 2 before 6 before 5.
#[derive(Parser)]
#[command(name = "memtest")]
struct Options {
    /// Cases to run; all without any
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
    /// Only cases of this tier
    #[arg(long, value_enum, ignore_case = true)]
    tier: Option<Tier>,
    /// Of the cases selected, only these
    #[arg(long, value_name = "CASES", value_delimiter = ',', hide = true)]
    only: Option<Vec<String>>,
    /// Names the cases and runs none
    #[arg(long)]
    list: bool,
    /// What goes to stdout
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Compares with a run that was saved by --format json: before, now, the
    /// difference
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// What the baseline is called, if not by its file
    #[arg(long, value_name = "NAME", requires = "baseline", hide = true)]
    baseline_name: Option<String>,
    /// Measures nothing: tells a run that was saved by --format json, as it was
    /// judged then
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cases", "tier", "update"])]
    saved: Option<PathBuf>,
    /// Writes a page with a plot a case, in one file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes one picture of the cases whose peak is measured over sizes
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Writes the figures into budgets.toml as last recorded; by itself never a
    /// ceiling
    #[arg(long)]
    update: bool,
    /// With --update: lowers each ceiling that leaves more than so many percent
    /// above its figure to just that; raises none
    #[arg(long, value_name = "PERCENT", requires = "update", value_parser = clap::value_parser!(u8).range(0..=90))]
    tighten: Option<u8>,
    /// Measures the naive twin in the pattern's place, which must not pass
    #[arg(long, conflicts_with = "update", hide = true)]
    swap: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Markdown,
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

/// After an interrupted run: until nothing is left, or what is left is in use for
/// longer than the run's last process takes to end.
pub fn sweep() -> ExitCode {
    let sweep = async {
        for _ in 0..20 {
            if database::sweep().await? == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    };
    match rig::run(sweep) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<u8> {
    let selected = select(options)?;
    if options.list {
        let tell = |case: &&Case| println!("{:<12} {}  {}", case.name, case.tier, case.about);
        selected.iter().for_each(tell);
        return Ok(0);
    }
    if selected.is_empty() && options.saved.is_none() {
        eprintln!("no case is of this tier; --list names them");
        return Ok(Verdict::Missing.exit_code());
    }
    // What is asked for is looked at before minutes of measuring.
    if let Some(file) = options.baseline.as_ref().filter(|file| !file.exists()) {
        eprintln!("{}: there is no such baseline; --format json writes one", file.display());
        return Ok(Verdict::Missing.exit_code());
    }
    let baseline = options.baseline.as_deref().map(read_run).transpose()?;
    for file in [&options.html, &options.svg].into_iter().flatten() {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        ensure!(folder.is_none_or(Path::is_dir), "there is no folder for {}", file.display());
    }
    let mut judgement = match &options.saved {
        Some(file) => read_run(file)?,
        None => measure(options, &selected)?,
    };
    if let (Some(baseline), Some(file)) = (&baseline, &options.baseline) {
        let name = options.baseline_name.clone();
        judgement.compare(&name.unwrap_or_else(|| file.display().to_string()), baseline);
    }
    tell(options, &judgement)?;
    Ok(judgement.exit_code())
}

fn measure(options: &Options, selected: &[&'static Case]) -> Result<Judgement> {
    let budgets = read_budgets()?;
    rig::run(database::sweep())?;
    let (mut begun, all) = (0, 2 * selected.len());
    let mut progress = |case: &Case, variant: Variant, progress: Progress| match progress {
        Progress::Begins => {
            begun += 1;
            eprint!("[{begun}/{all}] {} {variant}: ", case.name);
        }
        Progress::Measured(took) => eprintln!("measured in {:.1} s", took.as_secs_f32()),
        Progress::Failed(took) => eprintln!("failed after {:.1} s", took.as_secs_f32()),
    };
    let mut runs: Vec<Run> = selected.iter().map(|case| child::run(case, &mut progress)).collect();
    rig::run(database::sweep())?;
    if options.swap {
        runs.iter_mut().for_each(|run| run.pattern.clone_from(&run.twin));
    }
    let whole = selected.len() == cases::ALL.len();
    Ok(judge(&budgets, &runs, whole))
}

fn tell(options: &Options, judgement: &Judgement) -> Result<()> {
    match options.format {
        Format::Table => print!("{}", meter::table(judgement)),
        Format::Markdown => print!("{}", meter::markdown(judgement)),
        Format::Json => println!("{}", serde_json::to_string_pretty(judgement)?),
    }
    let write = |file: &Option<PathBuf>, text: fn(&Judgement) -> String| match file {
        Some(file) => {
            std::fs::write(file, text(judgement)).with_context(|| format!("{}", file.display()))
        }
        None => Ok(()),
    };
    write(&options.html, meter::html)?;
    write(&options.svg, meter::picture)?;
    if options.update {
        update(judgement, options.tighten)?;
    }
    Ok(())
}

/// In the order of the table, each once.
fn select(options: &Options) -> Result<Vec<&'static Case>> {
    if let Some(name) = options.cases.iter().find(|name| cases::find(name).is_none()) {
        let known: Vec<_> = cases::ALL.iter().map(|case| case.name).collect();
        bail!("no case is named {name}; there are: {}", known.join(", "));
    }
    let among = |names: &[String], case: &Case| names.iter().any(|name| name == case.name);
    let is_selected = |case: &&Case| {
        (options.cases.is_empty() || among(&options.cases, case))
            && options.only.as_ref().is_none_or(|only| among(only, case))
            && options.tier.is_none_or(|tier| tier == case.tier)
    };
    Ok(cases::ALL.iter().filter(is_selected).collect())
}

/// Reads a run that was saved by `--format json`.
fn read_run(file: &Path) -> Result<Judgement> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let run: Judgement = serde_json::from_str(&text)
        .with_context(|| format!("{} is no run saved by --format json", file.display()))?;
    Ok(run)
}

fn budgets_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("budgets.toml")
}

/// Reads budgets.toml.
pub fn read_budgets() -> Result<Budgets> {
    let text = std::fs::read_to_string(budgets_file()).context("budgets.toml")?;
    Budgets::parse(&text).context("budgets.toml")
}

fn update(judgement: &Judgement, tighten: Option<u8>) -> Result<()> {
    let file = budgets_file();
    let mut text = std::fs::read_to_string(&file).context("budgets.toml")?;
    let figures = || {
        judgement.cases.iter().flat_map(|case| {
            let figures = case.rows.iter().filter_map(|row| Some((row.metric.as_str(), row.now?)));
            figures.map(|(metric, now)| (case.case.as_str(), metric, now))
        })
    };
    text = budgets::record(&text, figures())?;
    if let Some(headroom) = tighten {
        text = budgets::tighten(&text, figures(), headroom.into())?;
    }
    std::fs::write(&file, text).context("budgets.toml")?;
    eprintln!("budgets.toml: figures recorded");
    Ok(())
}
