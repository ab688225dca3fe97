//! Counts from a limit: as much of everything as fits.

use std::ops::RangeInclusive;

use crate::Plan;

/// The largest of `steps` whose plan fits; at a larger step a plan must take no less.
/// Where none fits, the least: the check of its plan names what to lower.
///
/// The sums are the plan's own, so what is fixed, and what somebody has chosen, is
/// taken off first by being the same at each step.
pub fn fit(steps: RangeInclusive<usize>, plan: impl Fn(usize) -> Plan) -> usize {
    let (mut fits, mut too_much) = (*steps.start(), steps.end().saturating_add(1));
    while too_much - fits > 1 {
        let middle = fits + (too_much - fits) / 2;
        if plan(middle).check().is_ok() {
            fits = middle;
        } else {
            too_much = middle;
        }
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Limit, Source, Term};

    /// 10 bytes that are fixed, and so many of 10 as the step has it.
    fn plan(step: usize, limit: u64) -> Plan {
        let term = |name, count| Term {
            name,
            count,
            unit: 10,
            kind: Kind::Resident,
            setting: None,
            held_by: "a test",
        };
        let terms = vec![term("fixed", 1), term("counted", step as u64)];
        Plan { terms, limit: Limit { bytes: limit, source: Source::Configured } }
    }

    #[test]
    fn the_largest_step_that_fits_is_found() {
        for (limit, expected) in [
            // Not even the least: 30 bytes beside a slack of 0.
            (29, 2),
            (30, 2),
            (39, 2),
            (40, 3),
            // From here on there is slack: 10 of 100.
            (100, 8),
            (1_000, 89),
            (10_000, 100),
            (u64::MAX, 100),
        ] {
            assert_eq!(fit(2..=100, |step| plan(step, limit)), expected, "{limit}");
        }
        assert!(plan(fit(2..=100, |step| plan(step, 29)), 29).check().is_err());
    }
}
