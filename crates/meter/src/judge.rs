//! Figures against budgets, case by case.

use serde::{Deserialize, Serialize};

use crate::budgets::{Budget, Budgets, CaseBudget};
use crate::control::{Control, judge_control};
use crate::curve::{Class, Curve};
use crate::figure::Unit;
use crate::sample::{Report, Sample};
use crate::verdict::Verdict;

/// What ran of one case.
#[derive(Clone, Debug)]
pub struct Run {
    /// The case's name.
    pub case: String,
    /// The pattern's figures, or why there are none.
    pub pattern: Result<Report, String>,
    /// The naive twin's figures, or why there are none.
    pub twin: Result<Report, String>,
}

/// All verdicts of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judgement {
    /// What `before` of the rows is: a file's or a ref's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// In the order of the runs; then budgets without a run.
    pub cases: Vec<CaseJudgement>,
}

/// The verdicts of one case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaseJudgement {
    /// The case's name.
    pub case: String,
    /// Why the pattern could not be measured.
    pub error: Option<String>,
    /// The pattern's metrics.
    pub rows: Vec<Row>,
    /// The control.
    pub control: Control,
}

/// The verdict on one metric of a pattern. Figures are in `unit`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The metric's name.
    pub metric: String,
    /// Its unit, where a budget says.
    pub unit: Option<Unit>,
    /// What it is held to.
    pub ceiling: Option<f64>,
    /// What it was when last recorded.
    pub recorded: Option<f64>,
    /// What it was in the baseline, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<f64>,
    /// The worst repetition.
    pub now: Option<f64>,
    /// From the least repetition to the worst.
    pub spread: Option<f64>,
    /// What is left below the ceiling, in percent of it.
    pub headroom: Option<f64>,
    /// For a share: what 100 % are, in bytes.
    pub whole: Option<f64>,
    /// How its curve grows, where it has one.
    pub class: Option<Class>,
    /// The curve itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
    /// What it comes to.
    pub verdict: Verdict,
    /// What the sample says beside its figure.
    pub note: String,
}

impl Judgement {
    /// The verdicts, row by row, controls included.
    pub fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        self.cases.iter().flat_map(|case| {
            let error = case.error.is_some().then_some(Verdict::Error);
            let rows = case.rows.iter().map(|row| row.verdict);
            error.into_iter().chain(rows).chain([case.control.verdict])
        })
    }

    /// 0 all hold; 1 a pattern could not be measured; 2 a budget is broken; 3 a
    /// control was not detected; 5 something is missing; 6 unstable. With
    /// several, 1 before 3 before 2 before 6 before 5.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        Verdict::gravest(self.verdicts()).exit_code()
    }
}

/// Judges `runs`. With `whole`, all cases ran, and a case of the budgets that
/// has no run is missing.
#[must_use]
pub fn judge(budgets: &Budgets, runs: &[Run], whole: bool) -> Judgement {
    let none = CaseBudget::default();
    let mut cases: Vec<CaseJudgement> = runs
        .iter()
        .map(|run| judge_case(run, budgets.cases.get(&run.case).unwrap_or(&none)))
        .collect();
    let unknown =
        budgets.cases.iter().filter(|(case, _)| !runs.iter().any(|run| run.case == **case));
    for (case, budget) in unknown.filter(|_| whole) {
        // No process ran, so there is no error to tell: every figure is missing.
        let nothing = || Ok(Report::default());
        let run = Run { case: case.clone(), pattern: nothing(), twin: nothing() };
        let mut judged = judge_case(&run, budget);
        judged.control.verdict = Verdict::Missing;
        cases.push(judged);
    }
    Judgement { baseline: None, cases }
}

fn judge_case(run: &Run, budget: &CaseBudget) -> CaseJudgement {
    let control = judge_control(&run.twin, budget);
    let (report, error) = match &run.pattern {
        Ok(report) => (report, None),
        Err(error) => (&Report::default(), Some(error.clone())),
    };
    let mut rows: Vec<Row> = report
        .samples
        .iter()
        .map(|sample| judge_sample(sample, budget.metrics.get(&sample.metric)))
        .collect();
    let sampled = |metric: &str| report.samples.iter().any(|sample| sample.metric == metric);
    // After an error everything is missing: the error says so.
    let unsampled = budget.metrics.iter().filter(|(metric, _)| error.is_none() && !sampled(metric));
    rows.extend(
        unsampled
            .map(|(metric, budget)| judge_sample(&Sample::new(metric, Vec::new()), Some(budget))),
    );
    CaseJudgement { case: run.case.clone(), error, rows, control }
}

fn judge_sample(sample: &Sample, budget: Option<&Budget>) -> Row {
    let figure = |value: f64| (!value.is_nan()).then_some(value);
    // Above a ceiling of 0, or at it, there is no share to tell.
    let finite = |value: f64| value.is_finite().then_some(value);
    let now = figure(sample.worst());
    let verdict = match (budget, now) {
        (None, _) | (_, None) => Verdict::Missing,
        (Some(budget), Some(now)) if now > budget.ceiling => Verdict::Broken,
        (Some(budget), _) if budget.floor.is_some_and(|floor| sample.least() < floor) => {
            Verdict::Loose
        }
        (Some(budget), _) if budget.spread.is_some_and(|most| sample.spread() > most) => {
            Verdict::Unstable
        }
        _ => Verdict::Holds,
    };
    let ceiling = budget.map(|budget| budget.ceiling);
    Row {
        metric: sample.metric.clone(),
        unit: budget.map(|budget| budget.unit),
        ceiling,
        recorded: budget.and_then(|budget| budget.recorded),
        before: None,
        now,
        spread: figure(sample.spread()),
        headroom: ceiling.zip(now).and_then(|(ceiling, now)| finite(100.0 * (1.0 - now / ceiling))),
        whole: sample.whole,
        class: sample.curve.as_ref().map(Curve::class),
        curve: sample.curve.clone(),
        verdict,
        note: sample.note.clone(),
    }
}
