//! The table that a person reads at a glance: at most 110 columns.

use std::fmt::Write;

use crate::control::{Control, Finding};
use crate::figure::{Unit, bytes, digits};
use crate::judge::{Judgement, Row};
use crate::verdict::Verdict;

/// The widest that a line gets, in columns; longer notes are wrapped.
pub const WIDTH: usize = 110;

const INDENT: &str = "          ";

/// Draws `judgement`: a line a metric, then a line for each case's control, and
/// the sum of it all.
#[must_use]
pub fn table(judgement: &Judgement) -> String {
    let mut text =
        line("case", "metric", ["budget", "recorded", "now", "headroom"], "class", "verdict");
    for case in &judgement.cases {
        text += "\n";
        let mut name = case.case.as_str();
        for row in &case.rows {
            text += &row_line(name, row);
            if !row.note.is_empty() {
                text += &wrapped("  ", &row.note);
            }
            name = "";
        }
        if let Some(error) = &case.error {
            text += &wrapped("", &format!("{name} ERROR: {error}"));
        }
        text += &control_lines(&case.control);
    }
    text + "\n" + &sum(judgement)
}

fn line(case: &str, metric: &str, figures: [&str; 4], class: &str, verdict: &str) -> String {
    let [budget, recorded, now, headroom] = figures;
    let line = format!(
        "{case:<9} {metric:<21} {budget:>13} {recorded:>13} {now:>13} {headroom:>9}  {class:<6} {verdict}"
    );
    line.trim_end().to_owned() + "\n"
}

fn row_line(case: &str, row: &Row) -> String {
    let tell = |figure: Option<f64>| match (figure, row.whole) {
        (None, _) => "-".to_owned(),
        // A share is told as what it is a share of: bytes.
        (Some(share), Some(whole)) => bytes(share / 100.0 * whole),
        (Some(figure), None) => told(row.unit, figure),
    };
    let headroom = match row.headroom {
        // Far beyond, the factor says more than the share.
        Some(share) if share <= -100.0 => format!("{}x", digits(1.0 - share / 100.0)),
        Some(share) => Unit::Percent.tell(share),
        None => "-".to_owned(),
    };
    let class = row.class.map_or_else(|| "-".to_owned(), |class| class.to_string());
    let figures = [&*tell(row.ceiling), &*tell(row.recorded), &*tell(row.now), &*headroom];
    line(case, &row.metric, figures, &class, &row.verdict.to_string())
}

fn told(unit: Option<Unit>, figure: f64) -> String {
    unit.map_or_else(|| digits(figure), |unit| unit.tell(figure))
}

fn control_lines(control: &Control) -> String {
    let name = &control.name;
    if let Some(error) = &control.error {
        return wrapped("", &format!("naive twin ({name}): {error}: {}", control.verdict));
    }
    if control.findings.is_empty() {
        return wrapped("", &format!("naive twin ({name}): {}", control.verdict));
    }
    let mut text = String::new();
    let mut subject = format!("naive twin ({name})");
    for finding in &control.findings {
        text += &wrapped("", &format!("{subject}: {}", finding_text(finding)));
        "  and".clone_into(&mut subject);
    }
    text
}

fn finding_text(finding: &Finding) -> String {
    let Finding { metric, unit, now, factor, margin, verdict, .. } = finding;
    if now.is_nan() {
        return format!("{metric} was not measured: {verdict}");
    }
    let excess = match unit {
        Some(Unit::Percent) => Unit::Percent.tell(finding.excess),
        _ => bytes(finding.excess),
    };
    let at = if finding.at.is_empty() { String::new() } else { format!(" at {}", finding.at) };
    let mut text = format!(
        "{metric} {}, excess {excess}{at}, {}x the budget: {verdict}",
        told(*unit, *now),
        digits(*factor),
    );
    if *verdict != Verdict::Detected {
        let _ = write!(text, " (it must reach {}x)", digits(*margin));
    }
    text
}

fn sum(judgement: &Judgement) -> String {
    let code = judgement.exit_code();
    let mut kinds: Vec<(Verdict, usize)> = Vec::new();
    for verdict in judgement.verdicts() {
        match kinds.iter_mut().find(|(kind, _)| *kind == verdict) {
            Some((_, count)) => *count += 1,
            None => kinds.push((verdict, 1)),
        }
    }
    let tell = |(kind, count): &(Verdict, usize)| match kind {
        Verdict::Holds if *count != 1 => format!("{count} hold"),
        kind => format!("{count} {kind}"),
    };
    let kinds: Vec<String> = kinds.iter().map(tell).collect();
    let plural = if judgement.cases.len() == 1 { "case" } else { "cases" };
    format!("{} {plural}: {}: exit {code}\n", judgement.cases.len(), kinds.join(", "))
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
