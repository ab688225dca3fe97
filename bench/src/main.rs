//! `cargo xtask bench`: speed and memory, ours beside the peers, in one run.
//!
//! Ratios first: what a machine does on a day, another will not.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Markdown,
    Json,
}

/// Measures speed and memory, ours beside the peers.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench --", after_help = COSTS)]
struct Options {
    /// Scenarios to run: of this name, or those whose name has it in it. All without any
    scenarios: Vec<String>,
    /// A server to measure, likewise; can be given more than once
    #[arg(long = "peer", value_name = "NAME")]
    peers: Vec<String>,
    /// A setting of ours, as its environment has it; can be given more than once
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Smaller files, one round
    #[arg(long)]
    quick: bool,
    /// Gets the servers that are missing, by the commands that the report names
    #[arg(long)]
    install: bool,
    /// Rounds; in each, every server has its turn [default: 3]
    #[arg(long)]
    rounds: Option<NonZeroUsize>,
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
    folder: Option<PathBuf>,
    /// Ours
    #[arg(long, env = "SERVER_BIN", hide = true)]
    server: Option<PathBuf>,
    /// Ours, that does not sync what it receives
    #[arg(long, env = "SERVER_UNSYNCED", hide = true)]
    unsynced: Option<PathBuf>,
    /// Ours, that does not hash it either
    #[arg(long, env = "SERVER_BARE", hide = true)]
    bare: Option<PathBuf>,
    /// A database that nobody else uses
    #[arg(long, env, hide = true, hide_env_values = true)]
    database_url: Option<String>,
}

/// What `--help` says beside the usage.
const COSTS: &str = "\
All of it takes half an hour a round, 16 GiB of memory (the naive servers: with less they are
killed, and so may others be), and 6 GiB of disk. Exit codes: 0 all were measured, 1 one was not.";

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        // Not clap's own code for a wrong option, as for all of xtask.
        Err(error) => {
            let code = if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
            return if error.print().is_ok() { code } else { ExitCode::FAILURE };
        }
    };
    run(options).map_or_else(
        |error| {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn setting(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').context("NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Those of `names` that are `asked` for: by the whole name, or by a part of it that is no
/// other's whole name. All where nothing is asked for.
fn choose(names: &[&'static str], asked: &[String], what: &str) -> Result<Vec<&'static str>> {
    let mut chosen = Vec::new();
    for asked in asked {
        let is_whole = names.contains(&asked.as_str());
        let of = |name: &str| if is_whole { name == asked } else { name.contains(asked.as_str()) };
        let before = chosen.len();
        chosen.extend(names.iter().copied().filter(|name| of(name)));
        ensure!(chosen.len() > before, "no {what} has such a name: {asked}; see --list");
    }
    Ok(if asked.is_empty() { names.to_vec() } else { chosen })
}

fn run(options: Options) -> Result<()> {
    if options.list {
        for scenario in scenarios::ALL {
            println!("{}: {}", scenario.name, scenario.about);
        }
        for peer in peers::ALL {
            println!("{}: {}", peer.name, peer.about);
        }
        return Ok(());
    }
    let names: Vec<_> = scenarios::ALL.iter().map(|scenario| scenario.name).collect();
    let chosen = choose(&names, &options.scenarios, "scenario")?;
    let scenarios = scenarios::ALL.iter().filter(|scenario| chosen.contains(&scenario.name));
    let names: Vec<_> = peers::ALL.iter().map(|peer| peer.name).collect();
    let peers = choose(&names, &options.peers, "server")?;
    if let Some(path) = &options.html {
        // Not after an hour.
        std::fs::write(path, "").with_context(|| format!("writing {}", path.display()))?;
    }
    let Options { folder, database_url, server, unsynced, bare, settings, quick, .. } = options;
    let (Some(folder), Some(server), Some(database_url)) = (folder, server, database_url) else {
        bail!("cargo xtask bench says where all is");
    };
    let ours = Ours { server, unsynced, bare, settings };
    let ground = Ground::new(folder, database_url, ours, quick)?;
    if options.install {
        peers::install(&ground)?;
    }
    let (here, missing): (Vec<_>, Vec<_>) =
        peers::ALL.iter().partition(|peer| (peer.is_here)(&ground));
    let missing = missing.iter().map(|peer| format!("{} ({})", peer.name, peer.get)).collect();
    let rounds = options.rounds.map_or(if quick { 1 } else { 3 }, NonZeroUsize::get);
    let mut report = Report { machine: machine()?, rounds, missing, outcomes: Vec::new() };
    if options.format != Format::Json {
        println!("{}; median of {rounds} rounds", report.machine);
    }
    for scenario in scenarios {
        // A ratio needs whom it is to.
        let among: Vec<_> = here
            .iter()
            .copied()
            .filter(|peer| peer.name == scenario.reference || peers.contains(&peer.name))
            .collect();
        let outcome = rounds::run(scenario, &among, &ground, rounds, |line| eprintln!("{line}"))?;
        // At once: all of them take hours, and a run may be broken off.
        match options.format {
            Format::Table => print!("{}", report::table(&outcome)),
            Format::Markdown => print!("{}", report::markdown(&outcome)),
            Format::Json => {}
        }
        std::io::stdout().flush()?;
        report.outcomes.push(outcome);
    }
    match options.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        _ => report.missing.iter().for_each(|missing| println!("\nNot here: {missing}.")),
    }
    if let Some(path) = options.html {
        std::fs::write(&path, report::html(&report))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    let mut rows = report.outcomes.iter().flat_map(|outcome| &outcome.rows);
    ensure!(rows.all(|row| row.error.is_none()), "not all could be measured");
    Ok(())
}

/// What the figures depend on.
fn machine() -> Result<String> {
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| path.to_owned());
    let cores = std::thread::available_parallelism()?;
    let release = read("/proc/sys/kernel/osrelease")?;
    let load = read("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    // Version 1 does not count what is in sockets.
    let groups = meter::Group::version_here();
    let release = release.trim();
    Ok(format!("{cores} cores, Linux {release}, control groups v{groups}, load {load} before"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_name_is_one_and_a_part_is_all_that_have_it() {
        let choose = |asked: &[&str]| {
            let asked: Vec<_> = asked.iter().copied().map(str::to_owned).collect();
            choose(&["1 upload", "1 upload, form", "record"], &asked, "scenario").ok()
        };
        assert_eq!(choose(&["1 upload"]), Some(vec!["1 upload"]));
        assert_eq!(choose(&["upload"]), Some(vec!["1 upload", "1 upload, form"]));
        assert_eq!(choose(&["record", "form"]), Some(vec!["record", "1 upload, form"]));
        assert_eq!(choose(&[]).map(|chosen| chosen.len()), Some(3));
        assert_eq!(choose(&["record", "nothing"]), None);
    }
}
