//! Growth: a figure against what it may grow with.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One measurement on a [`Curve`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// How much work: MiB of a body, requests in flight, operations done.
    pub x: f64,
    /// What was measured, in bytes.
    pub y: f64,
}

/// Measurements against one axis, in ascending order of `x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// What `x` counts, as it is told after a number: `MiB`, `in flight`.
    pub axis: String,
    /// At least two.
    pub points: Vec<Point>,
}

/// A rise of so many bytes is noise: which of two small allocations comes first,
/// where the blocking pool takes part. Measured: below 1 KiB.
pub const NOISE: f64 = 4096.0;

/// How a curve grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Class {
    /// Flat: nowhere does it rise by more than [`NOISE`].
    #[serde(rename = "O(1)")]
    Constant,
    /// It grows, at a rate that does not itself grow much. Over three segments
    /// n log n can't be told from n, and counts as this.
    #[serde(rename = "O(n)")]
    Linear,
    /// The last segment is more than three times as steep as the first.
    #[serde(rename = "worse")]
    Worse,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Constant => "O(1)",
            Self::Linear => "O(n)",
            Self::Worse => "worse",
        })
    }
}

impl Curve {
    /// A curve of `points` over `axis`.
    pub fn new(axis: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let points = points.into_iter().map(|(x, y)| Point { x, y }).collect();
        Self { axis: axis.to_owned(), points }
    }

    /// The slope from the first point to the last, in bytes per unit of `x`.
    #[must_use]
    pub fn endpoints(&self) -> f64 {
        match &self.points[..] {
            [first, .., last] => slope(*first, *last),
            _ => f64::NAN,
        }
    }

    /// The slope of each segment: a step that the endpoints average away shows
    /// here.
    pub fn segments(&self) -> impl Iterator<Item = f64> {
        self.points.windows(2).map(|pair| slope(pair[0], pair[1]))
    }

    /// The steepest of endpoints and segments. Not a number, which no budget
    /// admits, where there are fewer than two points.
    #[must_use]
    pub fn steepest(&self) -> f64 {
        self.segments().fold(self.endpoints(), f64::max)
    }

    /// The largest rise from any point to any later one, in bytes.
    #[must_use]
    pub fn rise(&self) -> f64 {
        let mut least = f64::INFINITY;
        let rises = self.points.iter().map(|point| {
            least = least.min(point.y);
            point.y - least
        });
        rises.fold(0.0, f64::max)
    }

    /// From the first `x` to the last.
    #[must_use]
    pub fn span(&self) -> f64 {
        match &self.points[..] {
            [first, .., last] => last.x - first.x,
            _ => 0.0,
        }
    }

    /// How it grows.
    #[must_use]
    pub fn class(&self) -> Class {
        if self.rise() <= NOISE {
            return Class::Constant;
        }
        let mut segments = self.segments();
        let first = segments.next().unwrap_or_default().max(0.0);
        match segments.last() {
            Some(last) if last > 3.0 * first => Class::Worse,
            _ => Class::Linear,
        }
    }
}

fn slope(from: Point, to: Point) -> f64 {
    (to.y - from.y) / (to.x - from.x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over_sizes(peak: impl Fn(f64) -> f64) -> Curve {
        Curve::new("MiB", [1.0, 4.0, 16.0, 64.0].map(|x| (x, peak(x))))
    }

    #[test]
    fn a_peak_that_rises_by_no_more_than_the_noise_is_constant() {
        let curve = over_sizes(|x| 150_000.0 + 64.0 * x);
        assert_eq!((curve.steepest(), curve.rise()), (64.0, 4032.0));
        assert_eq!(curve.class(), Class::Constant);
        assert_eq!(over_sizes(|x| 150_000.0 + 66.0 * x).class(), Class::Linear);
    }

    #[test]
    fn a_buffered_body_is_linear() {
        let curve = over_sizes(|x| 2.0 * x * 1_048_576.0);
        assert_eq!(curve.endpoints(), 2_097_152.0);
        assert_eq!(curve.class(), Class::Linear);
    }

    #[test]
    fn a_quadratic_peak_is_worse() {
        assert_eq!(over_sizes(|x| x * x * 1e6).class(), Class::Worse);
    }

    #[test]
    fn a_step_shows_in_its_segment_where_the_endpoints_hide_it() {
        let step = |x| if x == 4.0 { 63_000.0 } else { 0.0 };
        let curve = over_sizes(step);
        assert_eq!(curve.endpoints(), 0.0);
        assert_eq!((curve.steepest(), curve.rise()), (21_000.0, 63_000.0));
        assert_eq!(curve.class(), Class::Linear);
    }

    #[test]
    fn fewer_than_two_points_hold_no_budget() {
        assert!(Curve::new("MiB", [(1.0, 1.0)]).steepest().is_nan());
        assert!(Curve::new("MiB", []).steepest().is_nan());
    }
}
