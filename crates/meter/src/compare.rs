//! A run beside an earlier one: before, now, and what is missing.

use crate::judge::{CaseJudgement, Judgement, Row};
use crate::verdict::Verdict;

impl Judgement {
    /// Puts the figures of `baseline` beside these, metric by metric, for the
    /// cases that ran now. What only one of the two has is missing: a comparison
    /// of nothing with something would be green for no reason. A figure that is
    /// worse than before is told and not judged: ceilings judge.
    pub fn compare(&mut self, name: &str, baseline: &Self) {
        self.baseline = Some(name.to_owned());
        for case in &mut self.cases {
            let before = baseline.cases.iter().find(|before| before.case == case.case);
            compare_case(case, before.map_or(&[], |before| &before.rows));
        }
    }
}

/// What `before` measured. A share as one of what 100 % are now: with another
/// formula, the same percentage was another number of bytes.
fn figure(before: &Row, whole_now: Option<f64>) -> Option<f64> {
    let now = before.now?;
    Some(before.whole.zip(whole_now).map_or(now, |(then, whole)| now * then / whole))
}

fn compare_case(case: &mut CaseJudgement, before: &[Row]) {
    for row in &mut case.rows {
        let before = before.iter().find(|before| before.metric == row.metric);
        row.before = before.and_then(|before| figure(before, row.whole));
        if row.before.is_none() && row.verdict == Verdict::Holds {
            row.verdict = Verdict::Missing;
        }
    }
    let now = |metric: &str| case.rows.iter().any(|row| row.metric == metric);
    // After an error everything is missing: the error says so.
    let gone = before.iter().filter(|row| case.error.is_none() && !now(&row.metric));
    let gone = gone.map(|row| Row {
        before: row.now,
        now: None,
        spread: None,
        headroom: None,
        class: None,
        curve: None,
        note: String::new(),
        verdict: Verdict::Missing,
        ..row.clone()
    });
    let gone: Vec<Row> = gone.collect();
    case.rows.extend(gone);
}
