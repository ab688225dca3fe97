//! `cargo xtask chart`: the load line, drawn from a hostile run.

use std::ffi::OsString;
use std::path::{PathBuf, absolute};
use std::process::ExitCode;

use anyhow::Result;

use crate::child::{self, say};
use crate::test::{self, Environment};

/// What is drawn: the test that drives the plan to its counts.
const RUN: [&str; 8] = [
    "--package",
    "tests",
    "--test",
    "hostile",
    "--",
    "--exact",
    "--nocapture",
    "planned_load_stays_under_the_load_line",
];

/// Where the README has its picture.
const SVG: &str = "docs/load-line.svg";

/// Where it is drawn.
#[derive(clap::Args)]
pub struct Options {
    /// Writes a page, in one file, with the figures of the worst moment
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes the picture there, and not to docs/load-line.svg
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Runs the test as `cargo xtask test` does, and returns its exit code. What it has seen is drawn
/// even where it fails.
pub fn run(options: Options) -> Result<ExitCode> {
    let svg = match options.svg {
        Some(path) => absolute(path)?,
        None => child::checkout().join(SVG),
    };
    let mut files = vec![("CHART_SVG", svg)];
    if let Some(html) = options.html {
        files.push(("CHART_HTML", absolute(html)?));
    }
    let environment: Environment =
        files.iter().map(|(name, path)| (*name, path.clone().into())).collect();
    let code = test::run_with(RUN.map(OsString::from).into(), &environment)?;
    for (_, path) in files.iter().filter(|(_, path)| path.exists()) {
        say(&format!("the chart: {}", path.display()));
    }
    Ok(code)
}
