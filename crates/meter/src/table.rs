//! The table that a person reads at a glance: at most 110 columns.

use crate::judge::{Judgement, Row};
use crate::wording::{self, Cells};

/// The widest that a line gets, in columns; longer notes are wrapped.
pub const WIDTH: usize = 110;

const INDENT: &str = "             ";

/// Draws `judgement`: a line a metric, then a line for each case's control, and
/// the sum of it all. With a baseline, `before` and the difference stand where
/// else the recorded figure does.
#[must_use]
pub fn table(judgement: &Judgement) -> String {
    let compared = judgement.baseline.is_some();
    let figures: &[&str] =
        if compared { &["budget", "before", "now", "Δ"] } else { &["budget", "recorded", "now"] };
    let mut text = line("case", "metric", figures, "headroom", "class", "verdict");
    for case in &judgement.cases {
        text += "\n";
        let mut name = case.case.as_str();
        for row in &case.rows {
            text += &row_line(name, row, compared);
            if !row.note.is_empty() {
                text += &wrapped("  ", &row.note);
            }
            name = "";
        }
        if let Some(error) = &case.error {
            text += &wrapped("", &format!("{name} ERROR: {error}"));
        }
        for (i, told) in wording::control(&case.control).iter().enumerate() {
            text += &wrapped(if i == 0 { "" } else { "  " }, told);
        }
    }
    text + "\n" + &wording::sum(judgement) + "\n"
}

fn line(
    case: &str,
    metric: &str,
    figures: &[&str],
    headroom: &str,
    class: &str,
    verdict: &str,
) -> String {
    let mut line = format!("{case:<12} {metric:<19}");
    for (i, figure) in figures.iter().enumerate() {
        let width = if i < 3 { 12 } else { 10 };
        line += &format!(" {figure:>width$}");
    }
    line += &format!(" {headroom:>8}  {class:<5} {verdict}");
    line.trim_end().to_owned() + "\n"
}

fn row_line(case: &str, row: &Row, compared: bool) -> String {
    let cells = Cells::of(row);
    let figures: &[&str] = if compared {
        &[&cells.budget, &cells.before, &cells.now, &cells.delta]
    } else {
        &[&cells.budget, &cells.recorded, &cells.now]
    };
    let verdict = row.verdict.to_string();
    line(case, &row.metric, figures, &cells.headroom, &cells.class, &verdict)
}

/// `text` under the metrics' column, broken between words.
fn wrapped(indent: &str, text: &str) -> String {
    let mut lines = String::new();
    let mut line = format!("{INDENT}{indent}");
    for word in text.split_whitespace() {
        let begun = !line.trim_start().is_empty();
        if begun && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines += line.trim_end();
            lines.push('\n');
            line = format!("{INDENT}{indent}  ");
        } else if begun {
            line.push(' ');
        }
        line += word;
    }
    lines + &line + "\n"
}
