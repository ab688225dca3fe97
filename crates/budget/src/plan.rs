//! The plan: terms (a count times a unit) whose sum must fit under the limit.

use serde::Serialize;

use crate::{Limit, Mib};

/// From heap to resident memory, in percent: size classes, partly used pages
/// and what the allocator has not yet given back. Measured by the hostile test.
pub const HEAP_TO_RESIDENT_PERCENT: u64 = 125;

/// What the plan leaves free for what it does not know, in percent of the
/// limit.
pub const SLACK_PERCENT: u64 = 10;

/// What a term's unit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Bytes requested of the allocator: become resident by
    /// [`HEAP_TO_RESIDENT_PERCENT`].
    Heap,
    /// Resident bytes, as they are.
    Resident,
    /// Bytes that the kernel holds for sockets.
    Kernel,
}

/// What one kind of thing may take: `count` at most, `unit` bytes each.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// What it is.
    pub name: &'static str,
    /// How many there can be at once; a permit or a fixed size enforces it.
    pub count: u64,
    /// Bytes each.
    pub unit: u64,
    /// What the unit counts.
    pub kind: Kind,
    /// What to lower to make it smaller; None where nothing does.
    pub setting: Option<&'static str>,
    /// The test that holds the unit.
    pub held_by: &'static str,
}

impl Term {
    /// What it may take in all, in bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes_of(self.count)
    }

    /// What so many of it may take, in bytes of memory.
    #[must_use]
    pub fn bytes_of(&self, count: u64) -> u64 {
        let bytes = count.saturating_mul(self.unit);
        match self.kind {
            Kind::Heap => bytes.saturating_mul(HEAP_TO_RESIDENT_PERCENT) / 100,
            Kind::Resident | Kind::Kernel => bytes,
        }
    }
}

/// Terms against a limit.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the process may take, term by term.
    pub terms: Vec<Term>,
    /// What it may take at most.
    pub limit: Limit,
}

/// The terms, with their slack, are more than the limit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "the plan needs a limit of {}, its slack included, and the limit is {}, by {}; lower one of: \
     {}; or raise the limit",
    Mib(*.needed),
    Mib(.limit.bytes),
    .limit.source,
    .largest.join(", ")
)]
pub struct DoesNotFit {
    /// The least limit that would do, in bytes.
    pub needed: u64,
    /// The limit that there is.
    pub limit: Limit,
    /// The settings of the largest terms, with what they take.
    pub largest: Vec<String>,
}

impl Plan {
    /// What all terms may take together, in bytes: the load line.
    #[must_use]
    pub fn ceiling(&self) -> u64 {
        self.terms.iter().fold(0, |sum, term| sum.saturating_add(term.bytes()))
    }

    /// What is left free on purpose, in bytes.
    #[must_use]
    pub fn slack(&self) -> u64 {
        self.limit.bytes / 100 * SLACK_PERCENT
    }

    /// Whether ceiling and slack fit under the limit.
    ///
    /// # Errors
    /// [`DoesNotFit`], naming the three settings that what takes most can be lowered by.
    pub fn check(&self) -> Result<(), DoesNotFit> {
        if self.ceiling().saturating_add(self.slack()) <= self.limit.bytes {
            return Ok(());
        }
        let needed = self.ceiling().saturating_mul(100).div_ceil(100 - SLACK_PERCENT);
        // By setting: one may bound several terms, and is named after the first.
        let mut settings: Vec<(&str, &Term, u64)> = Vec::new();
        for term in &self.terms {
            let Some(setting) = term.setting else { continue };
            match settings.iter_mut().find(|(known, ..)| *known == setting) {
                Some((.., bytes)) => *bytes = bytes.saturating_add(term.bytes()),
                None => settings.push((setting, term, term.bytes())),
            }
        }
        settings.sort_by_key(|(.., bytes)| std::cmp::Reverse(*bytes));
        let name = |(setting, term, bytes): &(&str, &Term, u64)| {
            format!("{setting} ({} {} take {})", term.count, term.name, Mib(*bytes))
        };
        let largest = settings.iter().take(3).map(name).collect();
        Err(DoesNotFit { needed, limit: self.limit, largest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    fn term(name: &'static str, count: u64, unit: u64, kind: Kind) -> Term {
        Term { name, count, unit, kind, setting: Some("--count"), held_by: "a test" }
    }

    #[test]
    fn heap_is_charged_with_its_factor_and_the_rest_as_it_is() {
        assert_eq!(term("a", 2, 1000, Kind::Heap).bytes(), 2500);
        assert_eq!(term("a", 2, 1000, Kind::Kernel).bytes(), 2000);
        assert_eq!(term("a", u64::MAX, 2, Kind::Resident).bytes(), u64::MAX, "no overflow");
    }

    #[test]
    fn what_does_not_fit_is_refused_by_its_largest_terms() {
        let terms = vec![
            Term { setting: Some("--small"), ..term("small", 2, 1 << 20, Kind::Resident) },
            term("large", 44, 1 << 20, Kind::Resident),
            term("of each", 44, 1 << 20, Kind::Kernel),
            Term { setting: None, ..term("fixed", 2, 1 << 20, Kind::Resident) },
        ];
        let limit = Limit { bytes: 103 << 20, source: Source::Configured };
        let mut plan = Plan { terms, limit };
        assert_eq!(plan.check(), Ok(()));
        plan.limit.bytes = 102 << 20;
        let error = plan.check().unwrap_err();
        assert_eq!(error.needed, (92 << 20) * 10 / 9 + 1);
        assert_eq!(
            error.largest,
            ["--count (44 large take 88.00 MiB)", "--small (2 small take 2.00 MiB)"]
        );
    }
}
