//! The load line as it was loaded: what the plan has for the terms in use, stacked,
//! against the memory that was measured, over a run.
//!
//! A column is one sample as it was, so that what is stacked adds up to what `/memory`
//! told then.

use std::path::PathBuf;

use budget::{Kind, Plan};

use crate::watch::{Sample, Watch};

pub mod check;
mod page;
mod svg;

/// Columns at most: of the samples that fall into one, that with most memory measured,
/// so that no peak is lost.
const COLUMNS: usize = 160;

/// A term that never takes a fiftieth of the limit is shown together with others.
const SMALL: u64 = 50;

/// Where `cargo xtask chart` wants the picture, and the page.
const SVG: &str = "CHART_SVG";
const HTML: &str = "CHART_HTML";

/// A run, and the lines that it is held to.
pub struct Chart<'a> {
    columns: Vec<&'a Sample>,
    /// From the lowest to the highest.
    bands: Vec<Band>,
    ceiling: u64,
    slack: u64,
    limit: u64,
    /// The worst of the run, not only of the columns.
    residual: i64,
}

/// A term, or several small ones.
struct Band {
    names: Vec<&'static str>,
    kernel: bool,
}

impl Band {
    /// What the plan has for what is in use of it, in bytes.
    fn at(&self, sample: &Sample) -> u64 {
        self.names.iter().map(|name| sample.memory.of(name).bytes_in_use).sum()
    }

    fn name(&self) -> String {
        match &self.names[..] {
            [name] => (*name).to_owned(),
            names => format!("{} small terms", names.len()),
        }
    }
}

impl<'a> Chart<'a> {
    pub fn of(watch: &'a Watch, plan: &Plan) -> Self {
        let columns = columns(&watch.samples);
        let most = |name: &str| watch.most(|sample| sample.memory.of(name).bytes_in_use);
        let large = |name: &str| most(name) >= plan.limit.bytes / SMALL;
        let mut bands = Vec::new();
        // The process below, what the kernel holds above.
        for kernel in [false, true] {
            let terms = plan.terms.iter().filter(|term| (term.kind == Kind::Kernel) == kernel);
            let (alone, small): (Vec<_>, Vec<_>) = terms
                .map(|term| term.name)
                .filter(|name| most(name) > 0)
                .partition(|name| large(name));
            bands.extend(alone.into_iter().map(|name| Band { names: vec![name], kernel }));
            if !small.is_empty() {
                bands.push(Band { names: small, kernel });
            }
        }
        Self {
            columns,
            bands,
            ceiling: plan.ceiling(),
            slack: plan.slack(),
            limit: plan.limit.bytes,
            residual: watch.residual(),
        }
    }

    /// The upper edge of each band at each column, in bytes.
    fn edges(&self) -> Vec<Vec<u64>> {
        let mut below = vec![0; self.columns.len()];
        let edge = |band: &Band| {
            for (below, sample) in below.iter_mut().zip(&self.columns) {
                *below += band.at(sample);
            }
            below.clone()
        };
        self.bands.iter().map(edge).collect()
    }

    /// Resident memory and sockets.
    fn measured(&self) -> Vec<u64> {
        self.columns.iter().map(|sample| sample.resident + sample.sockets).collect()
    }

    fn live(&self) -> Vec<u64> {
        self.columns.iter().map(|sample| sample.live).collect()
    }

    /// The sample with most memory measured.
    fn worst(&self) -> Option<&Sample> {
        self.columns.iter().copied().max_by_key(|sample| sample.resident + sample.sockets)
    }
}

fn columns(samples: &[Sample]) -> Vec<&Sample> {
    let each = samples.len().div_ceil(COLUMNS).max(1);
    let highest = |samples: &'_ [Sample]| {
        samples
            .iter()
            .enumerate()
            .max_by_key(|(_, sample)| sample.resident + sample.sockets)
            .map_or(0, |(at, _)| at)
    };
    samples.chunks(each).map(|chunk| &chunk[highest(chunk)]).collect()
}

/// Draws a run where `cargo xtask chart` has asked for it. Nobody else has.
pub fn draw(watch: &Watch, plan: &Plan) -> std::io::Result<()> {
    let wanted = |name| std::env::var_os(name).map(PathBuf::from);
    let chart = Chart::of(watch, plan);
    if let Some(path) = wanted(SVG) {
        std::fs::write(path, chart.svg())?;
    }
    if let Some(path) = wanted(HTML) {
        std::fs::write(path, chart.html())?;
    }
    Ok(())
}
