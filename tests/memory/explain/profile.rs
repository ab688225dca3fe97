//! The profile of one process: dhat's file, with whole paths in it.
//!
//! dhat shortens paths to their last three parts, and inlined functions have short
//! names where debug information is of lines only. So addresses are resolved once
//! more, which only the process that has them can do.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// Frames that are kept: from an allocation up to the code of ours that asked for
/// it, past the runtime's and hyper's, are about 40.
const FRAMES: usize = 80;

/// What was live at the peak.
#[derive(Serialize, Deserialize)]
pub struct Profile {
    pub places: Vec<Place>,
}

/// What one backtrace allocated of it.
#[derive(Serialize, Deserialize)]
pub struct Place {
    pub bytes: u64,
    pub blocks: u64,
    /// Innermost first.
    pub frames: Vec<Frame>,
}

/// A line of code.
#[derive(Clone, Serialize, Deserialize)]
pub struct Frame {
    /// As the compiler was given it.
    pub path: String,
    pub line: u32,
    pub function: String,
}

/// What dhat writes, as far as it is used here.
#[derive(Deserialize)]
struct Written {
    pps: Vec<WrittenPlace>,
    /// `0x55d0: function (file:line:column)`; what is inlined there has the same address.
    ftbl: Vec<String>,
}

#[derive(Deserialize)]
struct WrittenPlace {
    /// Bytes and blocks that were live at the peak.
    gb: u64,
    gbk: u64,
    /// Indices of `ftbl`, innermost first.
    fs: Vec<usize>,
}

/// Runs `run` under the profiler, and writes what was live at its peak to `file`.
pub fn under<T>(file: &Path, run: impl FnOnce() -> T) -> Result<T> {
    let profiler = dhat::Profiler::builder().file_name(file).trim_backtraces(Some(FRAMES)).build();
    let value = run();
    drop(profiler); // writes
    let text = std::fs::read_to_string(file).context("the profiler wrote nothing")?;
    let profile = resolved(&serde_json::from_str(&text)?);
    std::fs::write(file, serde_json::to_string(&profile)?)?;
    Ok(value)
}

fn resolved(written: &Written) -> Profile {
    let mut known = HashMap::new();
    let mut frames = |place: &WrittenPlace| {
        let addresses = place.fs.iter().filter_map(|index| address(written.ftbl.get(*index)?));
        let mut addresses: Vec<usize> = addresses.collect();
        addresses.dedup();
        let mut frames: Vec<Frame> = Vec::new();
        for at in addresses {
            frames.extend_from_slice(known.entry(at).or_insert_with(|| at_address(at)));
        }
        frames
    };
    let live = written.pps.iter().filter(|place| place.gb > 0);
    let places =
        live.map(|place| Place { bytes: place.gb, blocks: place.gbk, frames: frames(place) });
    Profile { places: places.collect() }
}

fn address(frame: &str) -> Option<usize> {
    usize::from_str_radix(frame.strip_prefix("0x")?.split(':').next()?, 16).ok()
}

/// The line there, and before it those that are inlined into it.
fn at_address(address: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    backtrace::resolve(std::ptr::without_provenance_mut(address), |symbol| {
        frames.push(Frame {
            path: symbol.filename().map_or_else(String::new, |path| path.display().to_string()),
            line: symbol.lineno().unwrap_or_default(),
            function: symbol.name().map_or_else(String::new, |name| format!("{name:#}")),
        });
    });
    frames
}
