//! What there is to draw of a case: its curves, or its figures as bars.

use crate::control::Finding;
use crate::curve::{Curve, Point};
use crate::judge::{CaseJudgement, Row};

/// What a case's plot shows.
pub(crate) enum Plot<'a> {
    /// A figure against size, where the pattern has a curve.
    Lines(Lines<'a>),
    /// Pattern, ceiling and twin, each one figure.
    Bars(Bars<'a>),
}

/// Curves of one metric.
pub(crate) struct Lines<'a> {
    pub(crate) row: &'a Row,
    pub(crate) pattern: &'a Curve,
    /// The naive twin's, where it was measured over the same sizes.
    pub(crate) twin: Option<&'a Curve>,
}

/// Figures of one metric, in its unit.
pub(crate) struct Bars<'a> {
    pub(crate) row: &'a Row,
    pub(crate) now: f64,
    pub(crate) ceiling: f64,
    pub(crate) twin: Option<f64>,
}

impl<'a> Plot<'a> {
    /// The peak against sizes; else whatever curve there is; else what the twin
    /// violates most. None where nothing was measured.
    pub(crate) fn of(case: &'a CaseJudgement) -> Option<Self> {
        let lines = case.rows.iter().filter_map(|row| lines(case, row));
        let best = lines.min_by_key(|lines| (lines.twin.is_none(), !lines.is_over_sizes()));
        if let Some(lines) = best {
            return Some(Self::Lines(lines));
        }
        let bars = |finding: &'a Finding| bars(case, &finding.metric, Some(finding.now));
        let twin = case.control.findings.iter().find_map(bars);
        twin.or_else(|| case.rows.iter().find_map(|row| bars_of(row, None))).map(Self::Bars)
    }
}

impl Lines<'_> {
    /// Whether this is a peak over sizes of content or of a table.
    pub(crate) fn is_over_sizes(&self) -> bool {
        self.row.metric == "peak_slope"
    }

    /// What the ceiling allows: from the pattern's first point on, so much more
    /// with each step along the axis.
    pub(crate) fn allowed(&self, x: f64) -> Option<Point> {
        let first = self.pattern.points.first()?;
        Some(Point { x, y: first.y + self.row.ceiling? * (x - first.x) })
    }
}

fn lines<'a>(case: &'a CaseJudgement, row: &'a Row) -> Option<Lines<'a>> {
    let pattern = row.curve.as_ref().filter(|curve| curve.points.len() >= 2)?;
    let mut findings = case.control.findings.iter();
    let finding = findings.find(|finding| finding.metric == row.metric);
    let twin = finding.and_then(|finding| finding.curve.as_ref());
    Some(Lines { row, pattern, twin: twin.filter(|twin| twin.axis == pattern.axis) })
}

fn bars<'a>(case: &'a CaseJudgement, metric: &str, twin: Option<f64>) -> Option<Bars<'a>> {
    bars_of(case.rows.iter().find(|row| row.metric == metric)?, twin)
}

fn bars_of(row: &Row, twin: Option<f64>) -> Option<Bars<'_>> {
    let twin = twin.filter(|twin| twin.is_finite());
    Some(Bars { row, now: row.now?, ceiling: row.ceiling?, twin })
}
