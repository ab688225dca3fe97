//! Weights against their budgets.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// weigh.toml: every ceiling, and what it is for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// Bytes.
    pub binary: u64,
    pub crates: u64,
    pub crates_to_build: u64,
    pub duplicates: u64,
    /// Crates whose default features are on, and why.
    pub defaults: BTreeMap<String, String>,
}

/// How a weight is told.
#[derive(Clone, Copy)]
pub enum Unit {
    Bytes,
    Count,
}

/// What became of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    Broken,
    /// Measured on a platform that the budget is not for.
    Told,
}

/// A weight and its budget.
pub struct Row {
    pub what: &'static str,
    pub unit: Unit,
    pub budget: u64,
    pub now: u64,
    pub verdict: Verdict,
    /// What was counted, where that is told by name.
    pub names: Vec<String>,
}

impl Row {
    pub fn is_broken(&self) -> bool {
        self.verdict == Verdict::Broken
    }

    /// What is left of the budget, in percent; below 0 where it is broken.
    pub fn headroom(&self) -> Option<i64> {
        let (budget, now) = (i128::from(self.budget), i128::from(self.now));
        let percent = ((budget - now) * 100).checked_div(budget)?;
        i64::try_from(percent).ok()
    }
}

/// A binary of this size.
pub fn binary(size: u64, budget: u64) -> Row {
    let verdict = judge(size, budget);
    let judged = cfg!(all(target_os = "linux", target_arch = "x86_64"));
    let verdict = if judged { verdict } else { Verdict::Told };
    Row { what: "binary", unit: Unit::Bytes, budget, now: size, verdict, names: Vec::new() }
}

/// So many of something.
pub fn count(what: &'static str, now: usize, budget: u64) -> Row {
    let now = now as u64;
    Row { what, unit: Unit::Count, budget, now, verdict: judge(now, budget), names: Vec::new() }
}

/// So many of something that each can be told by name.
pub fn list(what: &'static str, names: Vec<String>, budget: u64) -> Row {
    let row = count(what, names.len(), budget);
    Row { names, ..row }
}

/// Default features that are on without a reason, and reasons for what is not: none of either.
pub fn explained(on: &BTreeSet<String>, reasons: &BTreeMap<String, String>) -> Row {
    let unexplained = on.iter().filter(|name| !reasons.contains_key(*name)).cloned();
    let gone = reasons.keys().filter(|name| !on.contains(*name));
    let gone = gone.map(|name| format!("{name} (its reason can go)"));
    list("defaults unexplained", unexplained.chain(gone).collect(), 0)
}

fn judge(now: u64, budget: u64) -> Verdict {
    if now <= budget { Verdict::Holds } else { Verdict::Broken }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_holds_up_to_its_ceiling() {
        for (now, verdict) in [(0, Verdict::Holds), (10, Verdict::Holds), (11, Verdict::Broken)] {
            let row = count("crates", now, 10);
            assert_eq!((row.verdict, row.is_broken()), (verdict, verdict == Verdict::Broken));
        }
    }

    #[test]
    fn headroom_is_a_share_of_the_budget() {
        let headroom = |now, budget| count("crates", now, budget).headroom();
        assert_eq!(headroom(9, 10), Some(10));
        assert_eq!(headroom(10, 10), Some(0));
        assert_eq!(headroom(12, 10), Some(-20));
        assert_eq!(headroom(0, 0), None);
    }

    #[test]
    fn what_is_told_by_name_is_counted() {
        let row = list("duplicates", vec!["sha2".to_owned(), "rand".to_owned()], 1);
        assert_eq!((row.now, row.verdict), (2, Verdict::Broken));
    }

    #[test]
    fn default_features_have_a_reason_and_reasons_a_use() {
        let on = ["clap", "time"].map(str::to_owned).into();
        let reasons = [("clap", "colours"), ("uuid", "none")];
        let reasons = reasons.map(|(name, reason)| (name.to_owned(), reason.to_owned())).into();
        let row = explained(&on, &reasons);
        assert_eq!(row.names, ["time", "uuid (its reason can go)"]);
        assert!(row.is_broken());
        assert!(!explained(&BTreeSet::new(), &BTreeMap::new()).is_broken());
    }

    #[test]
    fn an_unknown_budget_is_an_error() {
        let known = "binary = 1\ncrates = 1\ncrates_to_build = 1\nduplicates = 1\n";
        let table = "[defaults]\nclap = 'colours'\n";
        toml::from_str::<Budgets>(&format!("{known}{table}")).unwrap();
        assert!(toml::from_str::<Budgets>(&format!("{known}crate = 1\n{table}")).is_err());
        assert!(toml::from_str::<Budgets>("binary = 1\n").is_err());
    }
}
