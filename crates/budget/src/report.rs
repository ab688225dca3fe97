//! The plan for programs: as it is, and beside what is in use. All sizes are in bytes.

use serde::Serialize;

use crate::{Figures, Kind, Plan, Term};

/// A plan, to be written as JSON.
#[derive(Clone, Debug, Serialize)]
pub struct PlanReport {
    /// Term by term.
    pub terms: Vec<PlannedTerm>,
    /// All terms: the load line.
    pub ceiling: u64,
    /// What is left free on purpose.
    pub slack: u64,
    /// What there is.
    pub limit: u64,
    /// Who says so.
    pub limit_by: String,
    /// Whether ceiling and slack are within the limit.
    pub fits: bool,
}

/// A term of it.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedTerm {
    /// What it is.
    pub name: &'static str,
    /// How many at once.
    pub count: u64,
    /// Each.
    pub unit: u64,
    /// What the unit counts.
    pub kind: Kind,
    /// What it may take: as resident memory, or of the kernel's.
    pub bytes: u64,
    /// What to lower.
    pub setting: Option<&'static str>,
    /// The test that holds the unit.
    pub held_by: &'static str,
}

impl Plan {
    /// For programs.
    #[must_use]
    pub fn report(&self) -> PlanReport {
        PlanReport {
            terms: self.terms.iter().map(planned).collect(),
            ceiling: self.ceiling(),
            slack: self.slack(),
            limit: self.limit.bytes,
            limit_by: self.limit.source.to_string(),
            fits: self.check().is_ok(),
        }
    }

    /// The plan beside what is `in_use` of each term, and what was measured.
    pub fn beside(&self, measured: Figures, in_use: impl Fn(&Term) -> InUse) -> MemoryReport {
        let terms: Vec<_> = self.terms.iter().map(|term| used(term, in_use(term))).collect();
        let sum = |terms: &[UsedTerm], is: fn(Kind) -> bool| {
            terms
                .iter()
                .filter(|term| is(term.kind))
                .fold(0_u64, |sum, term| sum.saturating_add(term.bytes_in_use))
        };
        // What the kernel holds for sockets is in no process's resident memory.
        let in_process = sum(&terms, |kind| kind != Kind::Kernel);
        MemoryReport {
            in_use: in_process.saturating_add(sum(&terms, |kind| kind == Kind::Kernel)),
            residual: measured
                .resident
                .map(|resident| signed(resident).saturating_sub(signed(in_process))),
            terms,
            ceiling: self.ceiling(),
            slack: self.slack(),
            limit: self.limit.bytes,
            limit_by: self.limit.source.to_string(),
            measured,
        }
    }
}

/// How many there are of a term's things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InUse {
    /// Now.
    pub now: u64,
    /// At most since the start.
    pub peak: u64,
}

/// A plan beside what is in use of it, to be written as JSON.
#[derive(Clone, Debug, Serialize)]
pub struct MemoryReport {
    /// Term by term.
    pub terms: Vec<UsedTerm>,
    /// All terms at their counts: the load line.
    pub ceiling: u64,
    /// What is left free on purpose.
    pub slack: u64,
    /// What there is.
    pub limit: u64,
    /// Who says so.
    pub limit_by: String,
    /// All terms, as far as they are in use.
    pub in_use: u64,
    /// What was measured; what can't be told is null.
    pub measured: Figures,
    /// Resident memory without the terms in use, sockets left out of these: what the plan
    /// has not explained. Above the slack it is wrong; below 0, what is in use does not
    /// hold all that it may.
    pub residual: Option<i64>,
}

/// A term, and what is in use of it.
#[derive(Clone, Debug, Serialize)]
pub struct UsedTerm {
    /// What it is.
    pub name: &'static str,
    /// How many there can be.
    pub count: u64,
    /// How many there are.
    pub in_use: u64,
    /// How many there were at most.
    pub peak: u64,
    /// Each.
    pub unit: u64,
    /// What the unit counts.
    pub kind: Kind,
    /// What all may take.
    pub bytes: u64,
    /// What those in use may take.
    pub bytes_in_use: u64,
}

fn planned(term: &Term) -> PlannedTerm {
    let Term { name, count, unit, kind, setting, held_by } = *term;
    PlannedTerm { name, count, unit, kind, bytes: term.bytes(), setting, held_by }
}

fn used(term: &Term, in_use: InUse) -> UsedTerm {
    let Term { name, count, unit, kind, .. } = *term;
    UsedTerm {
        name,
        count,
        in_use: in_use.now,
        peak: in_use.peak,
        unit,
        kind,
        bytes: term.bytes(),
        bytes_in_use: term.bytes_of(in_use.now),
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limit, Source};

    fn plan(limit: u64) -> Plan {
        let term = |name, count, kind| Term {
            name,
            count,
            unit: 100,
            kind,
            setting: Some("--count"),
            held_by: "a test",
        };
        let terms = vec![
            term("base", 1, Kind::Resident),
            term("uploads", 4, Kind::Heap),
            term("sockets", 4, Kind::Kernel),
        ];
        Plan { terms, limit: Limit { bytes: limit, source: Source::Configured } }
    }

    #[test]
    fn a_report_says_what_the_table_says() {
        let report = serde_json::to_value(plan(1200).report()).unwrap();
        assert_eq!(
            report["terms"][1],
            serde_json::json!({
                "name": "uploads", "count": 4, "unit": 100, "kind": "heap", "bytes": 500,
                "setting": "--count", "held_by": "a test"
            })
        );
        assert_eq!(report["ceiling"], 1000);
        assert_eq!((&report["slack"], &report["limit"]), (&120.into(), &1200.into()));
        assert_eq!(report["limit_by"], "MEMORY_LIMIT");
        assert_eq!(report["fits"], true);
        assert_eq!(serde_json::to_value(plan(1099).report()).unwrap()["fits"], false);
    }

    #[test]
    fn the_residual_is_what_the_terms_in_use_do_not_explain() {
        let in_use = |term: &Term| match term.name {
            "base" => InUse { now: 1, peak: 1 },
            "uploads" => InUse { now: 2, peak: 3 },
            _ => InUse { now: 4, peak: 4 },
        };
        let resident = |resident| Figures { resident, ..Figures::default() };
        let report = plan(1200).beside(resident(Some(380)), in_use);
        assert_eq!(report.in_use, 100 + 250 + 400);
        // The sockets are the kernel's.
        assert_eq!(report.residual, Some(380 - 100 - 250));
        assert_eq!(plan(1200).beside(resident(Some(300)), in_use).residual, Some(-50));
        assert_eq!(plan(1200).beside(resident(None), in_use).residual, None);
        let uploads = serde_json::to_value(&report.terms[1]).unwrap();
        assert_eq!(
            uploads,
            serde_json::json!({
                "name": "uploads", "count": 4, "in_use": 2, "peak": 3, "unit": 100,
                "kind": "heap", "bytes": 500, "bytes_in_use": 250
            })
        );
    }
}
