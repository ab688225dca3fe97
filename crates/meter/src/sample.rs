//! What one variant of a case reports: JSON, from its process to the judge's.

use serde::{Deserialize, Serialize};

use crate::curve::Curve;

/// All figures of one variant: a pattern, or its naive twin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// One a metric, in the order in which a reader wants them.
    pub samples: Vec<Sample>,
}

/// One metric's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The metric's name, as in the budgets.
    pub metric: String,
    /// One figure a repetition, in the metric's unit. Never an average.
    pub repetitions: Vec<f64>,
    /// The curve of the worst repetition, for a metric that is a slope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
    /// For a metric in percent: what 100 % are, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<f64>,
    /// What a reader should know beside the figure; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Sample {
    /// A metric with a figure a repetition.
    #[must_use]
    pub fn new(metric: &str, repetitions: Vec<f64>) -> Self {
        Self {
            metric: metric.to_owned(),
            repetitions,
            curve: None,
            whole: None,
            note: String::new(),
        }
    }

    /// A metric that is a slope, of endpoints: growth over the whole of a curve.
    #[must_use]
    pub fn slope(metric: &str, curves: &[Curve]) -> Self {
        Self::of(metric, curves, Curve::endpoints)
    }

    /// A metric that is the steepest slope, of endpoints and each segment: a
    /// step that the whole averages away.
    #[must_use]
    pub fn steepest(metric: &str, curves: &[Curve]) -> Self {
        Self::of(metric, curves, Curve::steepest)
    }

    fn of(metric: &str, curves: &[Curve], figure: fn(&Curve) -> f64) -> Self {
        let worst = curves.iter().max_by(|a, b| figure(a).total_cmp(&figure(b)));
        let repetitions = curves.iter().map(figure).collect();
        Self { curve: worst.cloned(), ..Self::new(metric, repetitions) }
    }

    /// The same figures, which are bytes, as a share of what a formula says, in
    /// percent.
    #[must_use]
    pub fn share_of(self, metric: &str, formula: usize) -> Self {
        let whole = formula as f64;
        let percent = self.repetitions.iter().map(|bytes| 100.0 * bytes / whole).collect();
        Self { whole: Some(whole), ..Self::new(metric, percent) }
    }

    /// The same, with a note beside it.
    #[must_use]
    pub fn with_note(mut self, note: String) -> Self {
        self.note = note;
        self
    }

    /// The largest figure: what a ceiling holds. Not a number where there is
    /// none, or where one is not a number: no budget admits that.
    #[must_use]
    pub fn worst(&self) -> f64 {
        self.fold(f64::max)
    }

    /// The least figure: what a floor holds, and a control's margin.
    #[must_use]
    pub fn least(&self) -> f64 {
        self.fold(f64::min)
    }

    /// From the least to the worst.
    #[must_use]
    pub fn spread(&self) -> f64 {
        self.worst() - self.least()
    }

    fn fold(&self, pick: fn(f64, f64) -> f64) -> f64 {
        // f64::max and min pass over what is not a number: this must not.
        let pick = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { pick(a, b) };
        self.repetitions.iter().copied().reduce(pick).unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_survives_the_way_between_processes() {
        let curve = Curve::new("MiB", [(1.0, 10.0), (4.0, 10.5)]);
        let sample = Sample::slope("peak_slope", &[curve]).with_note("why".to_owned());
        let report = Report { samples: vec![sample, Sample::new("retained", vec![0.0, 24.0])] };
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }

    #[test]
    fn a_share_knows_its_whole() {
        let share = Sample::new("held", vec![512.0, 768.0]).share_of("unit", 1024);
        assert_eq!((share.repetitions.as_slice(), share.whole), (&[50.0, 75.0][..], Some(1024.0)));
    }

    #[test]
    fn one_figure_that_is_not_a_number_spoils_the_sample() {
        let sample = Sample::new("retained", vec![1.0, f64::NAN, 2.0]);
        assert!(sample.worst().is_nan() && sample.least().is_nan());
        assert!(Sample::new("retained", vec![]).worst().is_nan());
    }
}
