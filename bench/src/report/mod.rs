//! What came of it, for a person, a pull request, a program.

mod html;
mod table;

use std::fmt::Write as _;

use serde::Serialize;

use crate::rounds::{self, Outcome, Row};
use crate::scenarios::Unit;

pub use html::html;
pub use table::{markdown, table};

/// The whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Cores, kernel, load before.
    pub machine: String,
    pub rounds: usize,
    /// Who is not here, and how to get it.
    pub missing: Vec<String>,
    pub outcomes: Vec<Outcome>,
}

/// The columns of a scenario.
fn header(unit: Unit) -> Vec<&'static str> {
    match unit {
        Unit::Transfer => {
            vec!["", "ratio", "of rounds", "MiB/s", "spread", "CPU s/GiB", "peak RSS"]
        }
        Unit::Requests => {
            vec!["", "ratio", "of rounds", "a second", "spread", "CPU µs", "peak RSS", "p50", "p99"]
        }
        Unit::Held => vec!["", "a connection", "peak RSS"],
        Unit::Least => vec!["", "limit", "peak RSS"],
    }
}

fn cells(unit: Unit, row: &Row) -> Vec<String> {
    let mut cells = vec![row.peer.to_owned()];
    if let Some(error) = &row.error {
        cells.push(error.clone());
        return cells;
    }
    if let Some(held) = row.held {
        cells.push(rounds::held(held));
    }
    if matches!(unit, Unit::Transfer | Unit::Requests) {
        cells.push(row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")));
        let ratios = row.ratios.map(|[least, most]| format!("{least:.2} – {most:.2}"));
        cells.push(ratios.unwrap_or_default());
        cells.push(format!("{:.0}", row.speed));
        cells.push(format!("{:.0} %", row.spread * 100.0));
        cells.push(if unit == Unit::Transfer {
            format!("{:.2}", row.cpu)
        } else {
            format!("{:.1}", row.cpu)
        });
    }
    cells.push(if row.peak > 0.0 { meter::figure::bytes(row.peak) } else { "-".to_owned() });
    if let Some(latency) = row.latency {
        cells.extend(latency.map(|seconds| format!("{:.2} ms", seconds * 1e3)));
    }
    cells
}

fn title(outcome: &Outcome) -> String {
    let mut title = format!("{}: {}", outcome.scenario, outcome.about);
    if !outcome.reference.is_empty() {
        let _ = write!(title, " (ratio to {})", outcome.reference);
    }
    title
}
