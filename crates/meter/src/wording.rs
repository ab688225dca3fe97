//! A row's figures in words: the same ones in each format.

use crate::control::{Control, Finding};
use crate::figure::{Unit, bytes, digits};
use crate::judge::{Judgement, Row};
use crate::verdict::Verdict;

/// What a row says, cell by cell. A figure that is not there is a dash.
pub(crate) struct Cells {
    pub(crate) budget: String,
    pub(crate) recorded: String,
    pub(crate) before: String,
    pub(crate) now: String,
    pub(crate) delta: String,
    pub(crate) headroom: String,
    pub(crate) class: String,
}

impl Cells {
    pub(crate) fn of(row: &Row) -> Self {
        let tell = |figure: Option<f64>| figure.map_or_else(dash, |figure| tell(row, figure));
        let delta = row.before.zip(row.now).map(|(before, now)| now - before);
        Self {
            budget: tell(row.ceiling),
            recorded: tell(row.recorded),
            before: tell(row.before),
            now: tell(row.now),
            delta: delta.map_or_else(dash, |delta| {
                let text = self::tell(row, delta);
                if delta > 0.0 && !text.starts_with("0 ") { format!("+{text}") } else { text }
            }),
            headroom: match row.headroom {
                // Far beyond, the factor says more than the share.
                Some(share) if share <= -100.0 => format!("{}x", digits(1.0 - share / 100.0)),
                Some(share) => Unit::Percent.tell(share),
                None => dash(),
            },
            class: row.class.map_or_else(dash, |class| class.to_string()),
        }
    }
}

fn dash() -> String {
    "-".to_owned()
}

/// A figure of this row. A share is told as what it is a share of: bytes.
pub(crate) fn tell(row: &Row, figure: f64) -> String {
    match row.whole {
        Some(whole) => bytes(figure / 100.0 * whole),
        None => told(row.unit, figure),
    }
}

fn told(unit: Option<Unit>, figure: f64) -> String {
    unit.map_or_else(|| digits(figure), |unit| unit.tell(figure))
}

/// One line a finding of the control, and one where there is none.
pub(crate) fn control(control: &Control) -> Vec<String> {
    let Control { name, verdict, .. } = control;
    if let Some(error) = &control.error {
        return vec![format!("naive twin ({name}): {error}: {verdict}")];
    }
    if control.findings.is_empty() {
        return vec![format!("naive twin ({name}): {verdict}")];
    }
    let told = control.findings.iter().map(finding);
    let first = std::iter::once(format!("naive twin ({name})"));
    let subjects = first.chain(std::iter::repeat("and".to_owned()));
    subjects.zip(told).map(|(subject, told)| format!("{subject}: {told}")).collect()
}

fn finding(finding: &Finding) -> String {
    let Finding { metric, unit, now, factor, margin, verdict, .. } = finding;
    if now.is_nan() {
        return format!("{metric} was not measured: {verdict}");
    }
    let excess = match unit {
        Some(Unit::Percent) => Unit::Percent.tell(finding.excess),
        Some(Unit::Count) => digits(finding.excess),
        _ => bytes(finding.excess),
    };
    let at = if finding.at.is_empty() { String::new() } else { format!(" at {}", finding.at) };
    let now = told(*unit, *now);
    // Of nothing, there is no multiple.
    let times = if factor.is_finite() {
        format!("{}x the budget", digits(*factor))
    } else {
        "the budget is 0".to_owned()
    };
    let mut text = format!("{metric} {now}, excess {excess}{at}, {times}: {verdict}");
    if *verdict != Verdict::Detected {
        text += &format!(" (it must reach {}x)", digits(*margin));
    }
    text
}

/// How many of each verdict, and the exit code.
pub(crate) fn sum(judgement: &Judgement) -> String {
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
    let against = judgement.baseline.as_ref().map(|name| format!(", before: {name}"));
    let against = against.unwrap_or_default();
    format!("{} {plural}{against}: {}: exit {code}", judgement.cases.len(), kinds.join(", "))
}
