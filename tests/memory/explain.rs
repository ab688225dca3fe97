//! `explain CASE`: where the memory of the peak was allocated, by file and line.
//!
//! A case is run once more under dhat, which keeps the backtrace of each
//! allocation. What is told is the moment at which the most was live (dhat's
//! t-gmax), over all that the variant does: its largest setting, or all its
//! operations at once, whichever held most. What the test itself holds is told apart.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use meter::figure::bytes;
use tests::database;

use crate::cases::Tier;
use crate::child::{self, Variant};
use crate::{cases, rig};

mod profile;

pub use profile::under;
use profile::{Frame, Profile};

/// Sites told, if they hold a thousandth; the rest is told as a sum.
const SITES: usize = 10;

/// What is live that came through the innermost line outside of containers
/// (by which sites are known), and through the innermost of ours.
struct Site {
    ours: Option<String>,
    live: Live,
}

#[derive(Clone, Copy, Default)]
struct Live {
    bytes: u64,
    blocks: u64,
}

impl Live {
    fn and(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, blocks: self.blocks + other.blocks }
    }

    fn told(self) -> String {
        let plural = if self.blocks == 1 { "block" } else { "blocks" };
        format!("{} in {} {plural}", bytes(self.bytes as f64), self.blocks)
    }
}

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
    let case =
        cases::find(name).with_context(|| format!("no case is named {name}; --list names them"))?;
    ensure!(case.tier == Tier::A, "{name} measures the server's binary, which has no profiler");
    rig::run(database::sweep())?;
    let folder = tempfile::tempdir()?;
    for variant in [Variant::Pattern, Variant::Twin] {
        eprintln!("{name} {variant}: running under the profiler, several times slower than usual");
        let file = folder.path().join(format!("{variant}.json"));
        child::spawn(name, variant, Some(&file)).with_context(|| format!("{name} {variant}"))?;
        let profile = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        print!("{}", told(name, variant, &profile)?);
    }
    rig::run(database::sweep())?;
    Ok(())
}

fn told(case: &str, variant: Variant, profile: &Profile) -> Result<String> {
    let (tests_own, sites) = sites(profile);
    // A binary without debug information would be told as one unknown site.
    ensure!(sites.iter().any(|(_, site)| site.ours.is_some()), "no line of {case} is known");
    let of_rest = |sites: &[(String, Site)]| {
        sites.iter().fold(Live::default(), |sum, (_, site)| sum.and(site.live))
    };
    let all = of_rest(&sites);
    let mut text = format!(
        "\n{case}, {variant}: {} live at the peak, and {} of the test's own\n",
        all.told(),
        tests_own.told()
    );
    let line = |live: Live| {
        let share = 100.0 * live.bytes as f64 / all.bytes.max(1) as f64;
        format!("{share:>5.1} %  {:<22}", live.told())
    };
    let large =
        sites.iter().take(SITES).take_while(|(_, site)| 1000 * site.live.bytes >= all.bytes);
    let (first, rest) = sites.split_at(large.count());
    for (inner, site) in first {
        text += &format!("{}  {inner}\n", line(site.live));
        if let Some(ours) = site.ours.as_ref().filter(|ours| *ours != inner) {
            text += &format!("{:33}by {ours}\n", "");
        }
    }
    if !rest.is_empty() {
        text += &format!("{}  at {} more sites\n", line(of_rest(rest)), rest.len());
    }
    Ok(text)
}

/// What the test's own lines hold, as a sum; and all other sites, the most first.
fn sites(profile: &Profile) -> (Live, Vec<(String, Site)>) {
    let mut tests_own = Live::default();
    let mut sites = BTreeMap::<(String, Option<String>), Live>::new();
    for place in &profile.places {
        // Up from what allocates: the profiler, the counter, containers.
        let frames = || place.frames.iter().filter(|frame| !is_allocator(frame));
        let ours = frames().find(|frame| in_checkout(frame).is_some());
        let live = Live { bytes: place.bytes, blocks: place.blocks };
        if ours.and_then(in_checkout).is_some_and(is_tests_own) {
            tests_own = tests_own.and(live);
            continue;
        }
        let inner = frames().find(|frame| !is_container(&frame.path)).or_else(|| frames().next());
        let inner = inner.map_or_else(|| "unknown".to_owned(), tell);
        let site = sites.entry((inner, ours.map(tell))).or_default();
        *site = site.and(live);
    }
    let site = |((inner, ours), live)| (inner, Site { ours, live });
    let mut sites: Vec<_> = sites.into_iter().map(site).collect();
    sites.sort_by_key(|(_, site)| std::cmp::Reverse(site.live.bytes));
    (tests_own, sites)
}

/// `crates/streaming/src/upload.rs:90 (receive)`, `hyper-1.12.0/src/…`, `alloc/src/…`.
fn tell(frame: &Frame) -> String {
    let path = &frame.path;
    let std = path.split_once("/library/").map(|(_, rest)| rest);
    let other = path.split_once("/registry/src/").and_then(|(_, rest)| rest.split_once('/'));
    let path = in_checkout(frame).or(std).or(other.map(|(_, rest)| rest)).unwrap_or(path);
    // Without its type's parameters, which are long; and a future's body has no name.
    match frame.function.split('<').next() {
        Some(name) if !name.is_empty() && !name.starts_with('{') => {
            format!("{path}:{} ({name})", frame.line)
        }
        _ => format!("{path}:{}", frame.line),
    }
}

/// What the compiler and the counter put between a line and the profiler.
fn is_allocator(frame: &Frame) -> bool {
    let parts = ["/dhat-", "/backtrace-", "/crates/meter/"];
    // `__rust_alloc` has the line of the global allocator's declaration.
    frame.function.contains("__rust_") || parts.iter().any(|part| frame.path.contains(part))
}

/// What allocates for whoever asks: of its lines, who asked is of interest.
fn is_container(path: &str) -> bool {
    ["/library/", "/hashbrown-", "/bytes-"].iter().any(|part| path.contains(part))
}

/// Of the test and not of the service, by its path in the checkout: clients, pipes,
/// content. A naive twin, though, lives in its case.
fn is_tests_own(path: &str) -> bool {
    path.starts_with("tests/") && !path.starts_with("tests/memory/cases/")
}

fn in_checkout(frame: &Frame) -> Option<&str> {
    Some(frame.path.strip_prefix(checkout())?.trim_start_matches('/'))
}

/// The workspace's folder when this was compiled, as paths in it begin.
fn checkout() -> &'static str {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().and_then(Path::to_str).unwrap_or_default()
}
