//! `explain CASE`: where the memory of the peak was allocated, by file and line.
//!
//! A case is run once more under dhat, which keeps the backtrace of each
//! allocation. What is told is the moment at which the most was live (dhat's
//! t-gmax), over all that the variant does: its largest setting, or all its
//! operations at once, whichever held most. The rig's own buffers are in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use meter::figure::bytes;
use serde::Deserialize;
use tests::database;

use crate::cases::Tier;
use crate::child::{self, Variant};
use crate::{cases, rig};

/// Sites told; the rest is told as a sum.
const SITES: usize = 10;

/// Frames that are kept: from an allocation up to the code of ours that asked for
/// it, past the runtime's and hyper's, are about 40.
const FRAMES: usize = 80;

/// Crates of ours, as they begin a function's name.
const OURS: [&str; 7] = ["streaming", "storage", "handler", "server", "budget", "tests", "memory"];

/// What dhat writes, as far as it is used here.
#[derive(Deserialize)]
struct Profile {
    pps: Vec<Place>,
    ftbl: Vec<String>,
}

/// One backtrace, innermost frame first, as indices of `ftbl`.
#[derive(Deserialize)]
struct Place {
    /// Bytes and blocks that were live at the peak.
    gb: u64,
    gbk: u64,
    fs: Vec<usize>,
}

/// Bytes and blocks of one site.
type Site = ((String, String), (u64, u64));

/// Profiles both variants of a case.
pub fn main(arguments: &[String]) -> ExitCode {
    match explain(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn explain(arguments: &[String]) -> Result<()> {
    let [name] = arguments else { bail!("usage: memory explain CASE") };
    let case = cases::find(name).with_context(|| format!("no case is named {name}"))?;
    ensure!(case.tier == Tier::A, "{name} measures the server's binary, which has no profiler");
    rig::run(database::sweep())?;
    let folder = tempfile::tempdir()?;
    for variant in [Variant::Pattern, Variant::Twin] {
        eprintln!("{name} {variant}: running under the profiler, some times slower than else");
        let file = folder.path().join(format!("{variant}.json"));
        child::spawn(name, variant, Some(&file)).with_context(|| format!("{name} {variant}"))?;
        let profile = std::fs::read_to_string(&file).context("the profiler wrote nothing")?;
        print!("{}", told(name, variant, &serde_json::from_str(&profile)?));
    }
    rig::run(database::sweep())
}

/// From now on until it is dropped, which writes the file.
pub fn profiler(file: &Path) -> dhat::Profiler {
    dhat::Profiler::builder().file_name(file).trim_backtraces(Some(FRAMES)).build()
}

fn told(case: &str, variant: Variant, profile: &Profile) -> String {
    let sites = sites(profile);
    let sum = |sites: &[Site]| {
        sites.iter().fold((0, 0), |sum, (_, site)| (sum.0 + site.0, sum.1 + site.1))
    };
    let all = sum(&sites);
    let mut text =
        format!("\n{case}, {variant}: {} in {} blocks live at the peak\n", size(all.0), all.1);
    let line = |(live, blocks): (u64, u64)| {
        let share = 100.0 * live as f64 / all.0.max(1) as f64;
        format!("{share:>5.1} %  {:>9}  {blocks:>6} blocks", size(live))
    };
    let (first, rest) = sites.split_at(sites.len().min(SITES));
    for ((inner, ours), figures) in first {
        text += &format!("{}  {inner}\n", line(*figures));
        if ours != inner {
            text += &format!("{:36}by {ours}\n", "");
        }
    }
    if !rest.is_empty() {
        text += &format!("{}  at {} more sites\n", line(sum(rest)), rest.len());
    }
    text
}

/// Bytes and blocks by the innermost line outside of the standard library, and by
/// the innermost of ours; the most first.
fn sites(profile: &Profile) -> Vec<Site> {
    let mut sites = BTreeMap::new();
    for place in profile.pps.iter().filter(|place| place.gb > 0) {
        let frames = || {
            let frames = place.fs.iter().filter_map(|index| profile.ftbl.get(*index));
            frames.map(|frame| without_address(frame))
        };
        let inner = frames().find(|frame| !is_of(frame, &["alloc", "core", "std", "hashbrown"]));
        let inner = inner.or_else(|| frames().next()).unwrap_or("unknown").to_owned();
        let ours = frames().find(|frame| is_of(frame, &OURS)).unwrap_or(&inner).to_owned();
        let site: &mut (u64, u64) = sites.entry((inner, ours)).or_default();
        site.0 += place.gb;
        site.1 += place.gbk;
    }
    let mut sites: Vec<Site> = sites.into_iter().collect();
    sites.sort_by_key(|(_, (live, _))| std::cmp::Reverse(*live));
    sites
}

/// `0x55d0: name (file:line:column)` without the address.
fn without_address(frame: &str) -> &str {
    frame.split_once(": ").map_or(frame, |(_, rest)| rest)
}

/// Whether the function is of one of these crates: `streaming::upload::receive`,
/// `<streaming::download::Chunks as …>::poll_next`.
fn is_of(frame: &str, crates: &[&str]) -> bool {
    let name = frame.trim_start_matches(['<', '&']).trim_start_matches("mut ");
    name.split_once("::").is_some_and(|(first, _)| crates.contains(&first))
}

fn size(live: u64) -> String {
    bytes(live as f64)
}
