//! Gauge: how near memory is to its limit, asked four times a second for ever.
//!
//! **What goes wrong**: what watches memory takes some: `fs::read_to_string` and a list
//! of fields a sample, when there is least to be had; and a history of samples that
//! nothing bounds, for the page that shows it.
//!
//! **The pattern**: `budget::Usage` and `server::gauge`. Files stay open and are read
//! into the stack; the last reading takes the place of the one before.
//!
//! **The bound**: no allocation a sample, and nothing retained.
//!
//! **The twin**: text, fields in a vector, and a vector of samples.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use budget::gauge::Charge;
use budget::{Figures, Gauge, Usage};
use handler::Overload;
use handler::overload::Shed;
use meter::{Curve, Probe, Report, Sample};
use server::gauge::{Readings, Sampler};

use super::{Case, Tier};
use crate::rig::measure::REPETITIONS;

pub const CASE: Case = Case {
    name: "gauge",
    tier: Tier::A,
    about: "memory watched four times a second: no allocation, no history",
    pattern,
    twin,
};

/// Of one repetition: 42 minutes of them.
const SAMPLES: u64 = 10_000;

/// In bytes, of process and group alike.
const LIMIT: u64 = 1 << 40;

/// What the group is charged, in percent of its limit: below every threshold, since a
/// change is an event, and its line is the log's.
const PERCENT: u64 = 50;

/// Files as Linux has them, the group's as long as in version 2.
fn tree() -> Result<tempfile::TempDir> {
    let root = tempfile::tempdir()?;
    let filling = "workingset_refault_file 123456789\n".repeat(20);
    let stat = format!("anon 1\n{filling}inactive_file 100\nactive_file 200\n{filling}");
    let current = (LIMIT / 100 * PERCENT + 300).to_string();
    for (path, text) in [
        ("proc/self/statm", "90000 2500 700 100 0 8000 0\n"),
        ("proc/self/cgroup", "0::/app\n"),
        ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
        ("sys/fs/cgroup/app/memory.max", &LIMIT.to_string()),
        ("sys/fs/cgroup/app/memory.current", &current),
        ("sys/fs/cgroup/app/memory.stat", &stat),
    ] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().context("a file without a folder")?)?;
        fs::write(path, text)?;
    }
    Ok(root)
}

/// `allocs`: of all samples of a repetition. `retained_per_op`: what is live after each
/// that was not before, over all of them.
fn measure(mut sample: impl FnMut() -> Result<()>) -> Result<[Sample; 2]> {
    let mut allocs = Vec::with_capacity(REPETITIONS);
    let mut points = Vec::with_capacity(1 + REPETITIONS);
    sample()?;
    let whole = Probe::start();
    points.push((0.0, 0.0));
    for repetition in 1..=REPETITIONS {
        let probe = Probe::start();
        for _ in 0..SAMPLES {
            sample()?;
        }
        allocs.push((probe.read().allocs + probe.read().reallocs) as f64);
        points.push(((repetition as u64 * SAMPLES) as f64, whole.read().retained as f64));
    }
    let retained = Sample::slope("retained_per_op", &[Curve::new("samples", points)]);
    Ok([Sample::new("allocs", allocs), retained])
}

fn pattern() -> Result<Report> {
    let root = tree()?;
    let usage = Usage::open_below(root.path());
    let (overload, readings) = (Overload::default(), Readings::default());
    let mut sampler = Sampler::new(LIMIT, overload.clone(), readings.clone());
    let samples = measure(|| {
        sampler.sample(Figures { live_heap: Some(1), ..usage.figures() });
        Ok(())
    })?;
    ensure!(!overload.sheds(Shed::Growth), "load was shed at {PERCENT} %");
    judged(&readings.last().figures)?;
    Ok(Report { samples: samples.into() })
}

fn twin() -> Result<Report> {
    let root = tree()?;
    let (mut history, mut gauge) = (Vec::new(), Gauge::new(LIMIT));
    let samples = measure(|| {
        let figures = read(root.path())?;
        gauge.observe(&figures);
        history.push(figures);
        Ok(())
    })?;
    judged(history.last().context("no sample")?)?;
    ensure!(history.len() as u64 == 1 + SAMPLES * REPETITIONS as u64);
    Ok(Report { samples: samples.into() })
}

/// As it is usually done.
fn read(root: &Path) -> Result<Figures> {
    let group = root.join("sys/fs/cgroup/app");
    let statm = fs::read_to_string(root.join("proc/self/statm"))?;
    let fields: Vec<&str> = statm.split_whitespace().collect();
    let pages: u64 = fields.get(1).context("no second field")?.parse()?;
    let stat = fs::read_to_string(group.join("memory.stat"))?;
    let lines: Vec<(&str, &str)> = stat.lines().filter_map(|line| line.split_once(' ')).collect();
    let value = |name: &str| -> Result<u64> {
        let line = lines.iter().find(|(found, _)| *found == name);
        Ok(line.with_context(|| format!("no {name}"))?.1.parse()?)
    };
    let current: u64 = fs::read_to_string(group.join("memory.current"))?.trim().parse()?;
    let limit: u64 = fs::read_to_string(group.join("memory.max"))?.trim().parse()?;
    let bytes = current - value("inactive_file")? - value("active_file")?;
    let group = Some(Charge { bytes, limit });
    Ok(Figures { live_heap: Some(1), resident: Some(pages * 4096), group })
}

/// Both have read the same.
fn judged(figures: &Figures) -> Result<()> {
    let group = Charge { bytes: LIMIT / 100 * PERCENT, limit: LIMIT };
    ensure!(figures.group == Some(group), "{figures:?}");
    ensure!(figures.live_heap.is_some() && figures.resident.is_some(), "{figures:?}");
    Ok(())
}
