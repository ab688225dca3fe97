//! Plain text, and markdown.

use std::fmt::Write as _;

use super::{Report, cells, header, title};

/// For a terminal.
pub fn table(report: &Report) -> String {
    let mut text = format!("{}; median of {} rounds\n", report.machine, report.rounds);
    for outcome in &report.outcomes {
        let _ = writeln!(text, "\n{}", title(outcome));
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
    }
    for missing in &report.missing {
        let _ = writeln!(text, "\nnot here: {missing}");
    }
    text
}

/// For a pull request.
pub fn markdown(report: &Report) -> String {
    let mut text = format!("{}; median of {} rounds.\n", report.machine, report.rounds);
    for outcome in &report.outcomes {
        let mut rows: Vec<_> = outcome.rows.iter().map(|row| cells(outcome.unit, row)).collect();
        // Latencies are not everywhere.
        let width = rows.iter().map(Vec::len).max().unwrap_or_default();
        rows.iter_mut().for_each(|row| row.resize(width, String::new()));
        let header = &header(outcome.unit)[..width];
        let _ = writeln!(text, "\n**{}**\n\n| {} |", title(outcome), header.join(" | "));
        let _ = writeln!(text, "| --- |{}", " --: |".repeat(width.saturating_sub(1)));
        for row in rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
    }
    for missing in &report.missing {
        let _ = writeln!(text, "\nNot here: {missing}.");
    }
    text
}
