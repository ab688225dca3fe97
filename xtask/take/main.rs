//! Measures the pattern and its naive twin, each in a process of its own, and holds
//! both to budgets.toml: the pattern must keep its budgets, and the twin must break
//! what it is said to break.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};
use meter::{Budgets, Report, Run, judge, table};

mod cases;
mod rig;

#[global_allocator]
static ALLOCATOR: meter::Counting<std::alloc::System> = meter::Counting::new(std::alloc::System);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let result = match arguments.get(1).map(String::as_str) {
        Some("child") => measure(arguments.get(2).map_or("", String::as_str)),
        _ => hold(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

/// The child's side: measures one variant, and prints its report.
fn measure(variant: &str) -> Result<ExitCode> {
    let report = match variant {
        "pattern" => (cases::CASE.pattern)()?,
        "twin" => (cases::CASE.twin)()?,
        _ => bail!("no variant is named {variant}"),
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(ExitCode::SUCCESS)
}

/// The parent's side.
fn hold() -> Result<ExitCode> {
    let budgets = concat!(env!("CARGO_MANIFEST_DIR"), "/budgets.toml");
    let budgets = Budgets::parse(&std::fs::read_to_string(budgets)?)?;
    println!("{}: {}", cases::CASE.name, cases::CASE.about);
    let [pattern, twin] = ["pattern", "twin"].map(|variant| {
        let report = child(variant);
        report.map_err(|error| format!("{variant}: {error:#}"))
    });
    let run = Run { case: cases::CASE.name.to_owned(), pattern, twin };
    let judgement = judge(&budgets, &[run], true);
    print!("{}", table(&judgement));
    Ok(judgement.exit_code().into())
}

fn child(variant: &str) -> Result<Report> {
    let output = Command::new(std::env::current_exe()?).args(["child", variant]).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", output.status, errors.trim_end());
    serde_json::from_slice(&output.stdout).context("its report is not readable")
}
