//! `cargo xtask check`: all that can be held against the code without running it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::{child, mutants, weigh};

mod arrows;
mod budgets;
pub mod command;
mod manifests;
pub mod metadata;
mod tools;

/// What to check.
#[derive(clap::Args)]
pub struct Options {
    /// The steps to run; all but advisories if none is named
    #[arg(value_enum)]
    steps: Vec<Step>,
}

/// One step. They run in this order, the quick ones first.
///
/// Not a step: that `.sqlx/` fits the migrations, which takes a database
/// (`cargo xtask prepare --check`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// The formatting is rustfmt's
    Rustfmt,
    /// Crates depend on each other along the arrows of ARCHITECTURE.md only
    Arrows,
    /// Every crate takes versions, lints and licence from the workspace
    Manifests,
    /// No budget of the memory tests is looser than before without a reason beside it
    Budgets,
    /// mutants.toml names code and tests that are there
    Mutants,
    /// Clippy has no warning, in any target, with all features
    Clippy,
    /// Every link in the documentation leads somewhere
    Rustdoc,
    /// Every dependency is used
    Unused,
    /// Dependencies keep to deny.toml: licences, sources, duplicates, bans
    Deny,
    /// Dependencies keep to weigh.toml: how many, in how many versions
    Weigh,
    /// No dependency has a known vulnerability: only by name, as it takes a network (see deny.toml)
    Advisories,
}

impl Step {
    fn run(self) -> anyhow::Result<()> {
        match self {
            Step::Rustfmt => command::run(command::cargo().args(["fmt", "--all", "--check"])),
            Step::Arrows => arrows::check(),
            Step::Manifests => manifests::check(),
            Step::Budgets => budgets::check(),
            Step::Mutants => mutants::list::check(&child::checkout()),
            Step::Clippy => command::run(
                command::cargo()
                    .args(["clippy", "--workspace", "--all-targets", "--all-features"])
                    .args(["--keep-going", "--", "-D", "warnings"]),
            ),
            // With private items, since this code is there to be read: most of its documentation
            // is on items that no other crate sees. There are no examples: naming them has cargo
            // choose features as for clippy's --all-targets, or it would compile tokio, jemalloc
            // and all that needs them once more. The server's bin shares its name with the lib.
            Step::Rustdoc => command::run(
                command::cargo()
                    .args(["doc", "--workspace", "--no-deps", "--all-features"])
                    .args(["--lib", "--bin", "xtask", "--examples"])
                    .args(["--document-private-items", "--keep-going"])
                    .env("RUSTDOCFLAGS", "-D warnings"),
            ),
            // With metadata: a crate's name in code may differ from its package's.
            Step::Unused => command::run(
                tools::MACHETE.command()?.args(["--with-metadata", "--skip-target-dir"]),
            ),
            Step::Deny => command::run(
                tools::DENY
                    .command()?
                    .args(["check", "bans", "licenses", "sources"])
                    // An exception that is no longer needed goes.
                    .args(["--deny", "unmatched-skip", "--deny", "unnecessary-skip"])
                    .args(["--deny", "unmatched-skip-root"])
                    .arg("--hide-inclusion-graph"),
            ),
            // Without the binary: building what is shipped takes minutes.
            Step::Weigh => weigh::check(),
            Step::Advisories => command::run(tools::DENY.command()?.args(["check", "advisories"])),
        }
    }

    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// Runs every step, also after a failure, and says at the end which failed.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut steps = options.steps;
    if steps.is_empty() {
        steps = Step::value_variants().to_vec();
        steps.retain(|step| *step != Step::Advisories);
    }
    let outcomes: Vec<_> = steps.into_iter().map(timed).collect();

    println!();
    for (step, took, passed) in &outcomes {
        let verdict = if *passed { "ok" } else { "FAILED" };
        println!("{:<10} {verdict:<7} {:>6.1} s", step.name(), took.as_secs_f32());
    }
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.2).collect();
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let names: Vec<_> = failed.iter().map(|outcome| outcome.0.name()).collect();
    println!("\nFailed: {}. One alone: cargo xtask check {}", names.join(", "), names[0]);
    Ok(ExitCode::FAILURE)
}

/// Runs a step under a heading: what it took, and whether it passed.
fn timed(step: Step) -> (Step, Duration, bool) {
    println!("\n== {}", step.name());
    let start = Instant::now();
    let result = step.run();
    if let Err(error) = &result {
        println!("{error:#}");
    }
    (step, start.elapsed(), result.is_ok())
}
