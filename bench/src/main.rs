//! `cargo xtask bench`: speed and memory, ours beside the peers, in one run.
//!
//! Ratios first: what a machine does on a day, another will not.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};

mod client;
mod ground;
mod peers;
mod process;
mod report;
mod rounds;
mod scenarios;
mod server;

use ground::{Ground, Ours};
use report::Report;

/// How the outcome is told.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Markdown,
    Json,
}

/// Measures speed and memory, ours beside the peers.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Options {
    /// Scenarios to run: those whose name has one of these in it. All without any
    scenarios: Vec<String>,
    /// Servers to measure: those whose name has one of these in it
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Smaller files, one round
    #[arg(long)]
    quick: bool,
    /// Gets the servers that are missing, by the commands that the report names
    #[arg(long)]
    install: bool,
    /// Rounds; in each, every server has its turn [default: 3]
    #[arg(long)]
    rounds: Option<usize>,
    /// Names scenarios and servers, and runs none
    #[arg(long)]
    list: bool,
    /// What goes to stdout
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Writes a page with bars, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Where files are kept meanwhile
    #[arg(long, env = "BENCH_DIR", hide = true)]
    folder: PathBuf,
    /// Ours
    #[arg(long, env = "SERVER_BIN", hide = true)]
    server: PathBuf,
    /// Ours, that does not sync what it receives
    #[arg(long, env = "SERVER_UNSYNCED", hide = true)]
    unsynced: Option<PathBuf>,
    /// Ours, that does not hash it either
    #[arg(long, env = "SERVER_BARE", hide = true)]
    bare: Option<PathBuf>,
    /// A database that nobody else uses
    #[arg(long, env, hide = true, hide_env_values = true)]
    database_url: String,
}

fn main() -> ExitCode {
    run(Options::parse()).map_or_else(
        |error| {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn run(options: Options) -> Result<()> {
    let chosen =
        |name: &str, of: &[String]| of.is_empty() || of.iter().any(|part| name.contains(part));
    if options.list {
        for scenario in scenarios::ALL {
            println!("{}: {}", scenario.name, scenario.about);
        }
        for peer in peers::ALL {
            println!("{}: {}", peer.name, peer.about);
        }
        return Ok(());
    }
    let Options { folder, database_url, server, unsynced, bare, quick, .. } = options;
    let ground = Ground::new(folder, database_url, Ours { server, unsynced, bare }, quick)?;
    if options.install {
        peers::install(&ground)?;
    }
    let (here, missing): (Vec<_>, Vec<_>) =
        peers::ALL.iter().partition(|peer| (peer.is_here)(&ground));
    let missing = missing.iter().map(|peer| format!("{} ({})", peer.name, peer.get)).collect();
    let scenarios: Vec<_> = scenarios::ALL
        .iter()
        .filter(|scenario| chosen(scenario.name, &options.scenarios))
        .collect();
    ensure!(!scenarios.is_empty(), "no scenario has such a name: see --list");
    let rounds = options.rounds.unwrap_or(if quick { 1 } else { 3 });
    let mut report = Report { machine: machine()?, rounds, missing, outcomes: Vec::new() };
    for scenario in scenarios {
        // A ratio needs whom it is to.
        let among: Vec<_> = here
            .iter()
            .copied()
            .filter(|peer| peer.name == scenario.reference || chosen(peer.name, &options.peers))
            .collect();
        report.outcomes.push(rounds::run(scenario, &among, &ground, rounds, |line| {
            eprintln!("{line}");
        })?);
    }
    match options.format {
        Format::Table => print!("{}", report::table(&report)),
        Format::Markdown => print!("{}", report::markdown(&report)),
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    if let Some(path) = options.html {
        std::fs::write(&path, report::html(&report))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// What the figures depend on.
fn machine() -> Result<String> {
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| path.to_owned());
    let cores = std::thread::available_parallelism()?;
    let release = read("/proc/sys/kernel/osrelease")?;
    let load = read("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    Ok(format!("{cores} cores, Linux {}, load {load} before", release.trim()))
}
