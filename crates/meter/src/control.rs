//! The naive twin against what it must break: is it detected?

use serde::{Deserialize, Deserializer, Serialize};

use crate::budgets::{CaseBudget, Twin};
use crate::curve::Curve;
use crate::figure::Unit;
use crate::sample::{Report, Sample};
use crate::verdict::Verdict;

/// The verdict on the naive twin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Control {
    /// The habit that it stands for.
    pub name: String,
    /// Why it could not be measured.
    pub error: Option<String>,
    /// One a metric that it must violate.
    pub findings: Vec<Finding>,
    /// What it comes to.
    pub verdict: Verdict,
}

/// What a control did to one metric.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// The metric's name.
    pub metric: String,
    /// Its unit.
    pub unit: Option<Unit>,
    /// The least repetition, in `unit`: the control must be caught each time.
    #[serde(deserialize_with = "or_nan")]
    pub now: f64,
    /// `now` as a factor of the ceiling.
    #[serde(deserialize_with = "or_nan")]
    pub factor: f64,
    /// The factor that it must reach.
    pub margin: f64,
    /// Above what the ceiling allows, in bytes (in percent for a share): for a
    /// slope, over the whole of its curve.
    #[serde(deserialize_with = "or_nan")]
    pub excess: f64,
    /// Where on its curve the excess is told: `64 MiB`. Empty where there is none.
    pub at: String,
    /// The curve itself, for a slope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
    /// What it comes to.
    pub verdict: Verdict,
}

/// Judges what a twin reported, or why it could not.
pub(crate) fn judge_control(twin_ran: &Result<Report, String>, budget: &CaseBudget) -> Control {
    let Some(twin) = &budget.twin else {
        let name = "none in the budgets".to_owned();
        return Control { name, error: None, findings: Vec::new(), verdict: Verdict::Missing };
    };
    let name = twin.name.clone();
    let report = match twin_ran {
        Ok(report) => report,
        Err(error) => {
            let error = Some(error.clone());
            return Control { name, error, findings: Vec::new(), verdict: Verdict::Toothless };
        }
    };
    let findings = find(twin, report, budget);
    let verdict = match &findings[..] {
        [] => Verdict::Missing,
        findings => match Verdict::gravest(findings.iter().map(|finding| finding.verdict)) {
            Verdict::Holds => Verdict::Detected,
            verdict => verdict,
        },
    };
    Control { name, error: None, findings, verdict }
}

fn find(twin: &Twin, report: &Report, budget: &CaseBudget) -> Vec<Finding> {
    let find = |(metric, margin): (&String, &f64)| {
        let sample = report.samples.iter().find(|sample| sample.metric == *metric);
        let now = sample.map_or(f64::NAN, Sample::least);
        let held = budget.metrics.get(metric);
        let ceiling = held.map_or(f64::NAN, |budget| budget.ceiling);
        let curve = sample.and_then(|sample| sample.curve.as_ref());
        let last = curve.and_then(|curve| curve.points.last().map(|last| (curve, last.x)));
        let factor = now / ceiling;
        Finding {
            metric: metric.clone(),
            unit: held.map(|budget| budget.unit),
            now,
            factor,
            margin: *margin,
            excess: (now - ceiling) * last.map_or(1.0, |(curve, _)| curve.span()),
            at: last.map_or_else(String::new, |(curve, x)| format!("{x} {}", curve.axis)),
            curve: curve.cloned(),
            verdict: match held {
                None => Verdict::Missing,
                // Not a number is not detected either.
                Some(_) if factor >= *margin && factor > 1.0 => Verdict::Detected,
                Some(_) => Verdict::Toothless,
            },
        }
    };
    let mut findings: Vec<Finding> = twin.must_violate.iter().map(find).collect();
    // What it does most of comes first.
    findings.sort_by(|a, b| b.factor.total_cmp(&a.factor));
    findings
}

/// JSON has no word for what is not a number, or not finite: it is written as null.
fn or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}
