//! Plain text, and markdown: a scenario at a time, as each is told when it is done.

use std::fmt::Write as _;

use super::{cells, header, title};
use crate::rounds::Outcome;

/// For a terminal.
pub fn table(outcome: &Outcome) -> String {
    let mut text = format!("\n{}\n", title(outcome));
    let mut rows = vec![header(outcome.unit).into_iter().map(str::to_owned).collect()];
    rows.extend(outcome.rows.iter().map(|row| cells(outcome.unit, row)));
    // An error is as wide as it is, and stands last.
    let width = |column: usize| {
        let full = rows.iter().filter(|row: &&Vec<String>| row.len() > 2 || column == 0);
        full.filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column).unwrap_or(0);
            if column == 0 || row.len() == 2 {
                let _ = write!(line, "{cell:<width$}  ");
            } else {
                let _ = write!(line, "{cell:>width$}  ");
            }
        }
        let _ = writeln!(text, "  {}", line.trim_end());
    }
    text
}

/// For a pull request.
pub fn markdown(outcome: &Outcome) -> String {
    let mut rows: Vec<_> = outcome.rows.iter().map(|row| cells(outcome.unit, row)).collect();
    // Latencies are not everywhere.
    let width = rows.iter().map(Vec::len).max().unwrap_or_default();
    rows.iter_mut().for_each(|row| row.resize(width, String::new()));
    let header = &header(outcome.unit)[..width];
    let mut text = format!("\n**{}**\n\n| {} |\n", title(outcome), header.join(" | "));
    let _ = writeln!(text, "| --- |{}", " --: |".repeat(width.saturating_sub(1)));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}
