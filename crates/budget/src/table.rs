//! The plan as a table, with a bar for each term.

use std::fmt;

use crate::plan::{HEAP_TO_RESIDENT_PERCENT, SLACK_PERCENT};
use crate::{Plan, Term};

/// A character of a bar, in per mille of the limit.
const MARK: u64 = 20;

/// Bytes, shown in MiB with two digits.
#[derive(Clone, Copy, Debug)]
pub struct Mib(
    /// In bytes.
    pub u64,
);

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = self.0 / (1 << 20) * 100 + self.0 % (1 << 20) * 100 / (1 << 20);
        f.pad(&format!("{}.{:02} MiB", hundredths / 100, hundredths % 100))
    }
}

impl Plan {
    /// In a line, for a log: each term's count, and its unit in bytes.
    #[must_use]
    pub fn compact(&self) -> String {
        let term = |term: &Term| format!("{} {}x{}", term.name, term.count, term.unit);
        self.terms.iter().map(term).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_mille = |bytes: u64| {
            let limit = u128::from(self.limit.bytes.max(1));
            let share = (u128::from(bytes) * 1000 + limit / 2) / limit;
            u64::try_from(share).unwrap_or(u64::MAX)
        };
        let percent = |bytes| {
            let share = per_mille(bytes);
            format!("{}.{} %", share / 10, share % 10)
        };
        // What is more than the whole limit needs no longer bar.
        let bar = |term: &Term| {
            let marks = per_mille(term.bytes()).min(1000).div_ceil(MARK);
            "#".repeat(usize::try_from(marks).unwrap_or(0))
        };
        let width = self.terms.iter().map(|term| bar(term).len()).max().unwrap_or(0);
        writeln!(
            f,
            "{:<22} {:>6} {:>12} {:>14} {:>8} {:width$}  held by",
            "term", "count", "unit", "at most", "share", ""
        )?;
        for term in &self.terms {
            let Term { name, count, unit, held_by, .. } = term;
            let (unit, most, bar) = (format!("{unit} B"), term.bytes(), bar(term));
            let (most, share) = (Mib(most), percent(most));
            writeln!(
                f,
                "{name:<22} {count:>6} {unit:>12} {most:>14} {share:>8} {bar:width$}  {held_by}"
            )?;
        }
        let mut sum = |name: String, bytes| {
            writeln!(f, "{name:<42} {:>14} {:>8}", Mib(bytes), percent(bytes))
        };
        sum(format!("load line, heap at {HEAP_TO_RESIDENT_PERCENT} %"), self.ceiling())?;
        sum(format!("slack, {SLACK_PERCENT} %"), self.slack())?;
        write!(f, "{:<42} {:>14}, by {}", "limit", Mib(self.limit.bytes), self.limit.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Limit, Source};

    #[test]
    fn a_bar_is_a_terms_share_of_the_limit() {
        let term = |name, count| Term {
            name,
            count,
            unit: 1 << 20,
            kind: Kind::Resident,
            setting: None,
            held_by: "a test",
        };
        let terms = vec![term("none", 0), term("little", 1), term("half", 100), term("all", 300)];
        let limit = Limit { bytes: 200 << 20, source: Source::Tried };
        let plan = Plan { terms, limit };
        let table = plan.to_string();
        let line = |name| table.lines().find(|line| line.starts_with(name)).unwrap();
        let marks = |name| line(name).matches('#').count();
        assert_eq!(["none", "little", "half", "all"].map(marks), [0, 1, 25, 50], "{table}");
        assert_eq!(
            plan.compact(),
            "none 0x1048576; little 1x1048576; half 100x1048576; all 300x1048576"
        );
        assert!(line("half").contains(" 50.0 % "), "{table}");
        assert!(line("all").contains(" 150.0 % "), "{table}");
        assert!(line("limit").ends_with("200.00 MiB, by --limit"), "{table}");
    }
}
