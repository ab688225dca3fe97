//! What a test said, from what its program printed.

use meter::{Budgets, Report, Run, Verdict};

/// What a test said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It passed.
    Green,
    /// It failed; how, where that says more than its name.
    Red(String),
    /// It did not end.
    Hung,
    /// It was not run: the binary has no such test, or ended before it.
    Nothing,
}

/// A program's end.
pub struct Outcome {
    pub hung: bool,
    pub success: bool,
    pub text: String,
    pub errors: String,
}

/// A metric, and what it comes to.
pub struct Figure {
    metric: String,
    verdict: Verdict,
    /// For a person: the figure and its budget.
    told: String,
}

/// What came of a memory case.
pub enum Measured {
    Rows(Vec<Figure>),
    Failed(String),
    Hung,
}

/// What `metric`, or the whole case, comes to.
pub fn judged(measured: &Measured, metric: Option<&str>) -> Said {
    let rows = match measured {
        Measured::Rows(rows) => rows,
        // It did not come to the metric: only who asks for the case has an answer.
        Measured::Failed(why) if metric.is_none() => return Said::Red(why.clone()),
        Measured::Failed(_) => return Said::Nothing,
        Measured::Hung => return Said::Hung,
    };
    let mut named = rows.iter().filter(|row| metric.is_none_or(|metric| row.metric == metric));
    if named.clone().next().is_none() {
        return Said::Nothing;
    }
    match named.find(|row| row.verdict != Verdict::Holds) {
        None => Said::Green,
        Some(row) => Said::Red(format!("{}: {}", row.told, row.verdict)),
    }
}

/// Holds a pattern's report to its budgets.
pub fn figures(case: &str, report: Report, budgets: &Budgets) -> Vec<Figure> {
    let twin = Err("not run".to_owned());
    let run = Run { case: case.to_owned(), pattern: Ok(report), twin };
    let judgement = meter::judge(budgets, &[run], false);
    let rows = judgement.cases.into_iter().flat_map(|case| case.rows);
    rows.map(|row| {
        let tell = |figure: Option<f64>| match (figure, row.unit) {
            (Some(figure), Some(unit)) => unit.tell(figure),
            _ => "-".to_owned(),
        };
        let told = format!("{} {}, budget {}", row.metric, tell(row.now), tell(row.ceiling));
        Figure { metric: row.metric, verdict: row.verdict, told }
    })
    .collect()
}

/// What libtest, or libtest-mimic, told of a test.
pub fn told(outcome: &Outcome, name: &str) -> Said {
    let lines = outcome.text.lines().map(str::trim_end);
    let of = |line: &&str| {
        let rest = line.strip_prefix("test ").and_then(|line| line.strip_prefix(name));
        rest.is_some_and(|rest| rest.trim_start().starts_with("..."))
    };
    let line = lines.rev().find(of);
    // The verdict may stand further down, behind what the test itself has printed.
    let is_failed = outcome.text.lines().any(|line| line == format!("    {name}"));
    match line {
        _ if is_failed => Said::Red(String::new()),
        Some(line) if line.ends_with("FAILED") => Said::Red(String::new()),
        Some(line) if line.ends_with("ok") => Said::Green,
        _ if outcome.hung => Said::Hung,
        Some(_) if outcome.success => Said::Green,
        _ => Said::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use meter::Sample;

    use super::*;

    fn outcome(text: &str, hung: bool) -> Outcome {
        Outcome { hung, success: !text.contains("FAILED"), text: text.into(), errors: "".into() }
    }

    #[test]
    fn each_test_is_told_by_its_own_line() {
        let text = "\nrunning 3 tests\ntest a::one ... ok\ntest a::one_more ... FAILED\n\
                    test b ... FAILED\n\nfailures:\n    a::one_more\n    b\n";
        let outcome = outcome(text, false);
        assert_eq!(told(&outcome, "a::one"), Said::Green);
        assert_eq!(told(&outcome, "a::one_more"), Said::Red(String::new()));
        assert_eq!(told(&outcome, "b"), Said::Red(String::new()));
        assert_eq!(told(&outcome, "c"), Said::Nothing);
    }

    #[test]
    fn what_has_not_ended_hangs_and_what_has_does_not() {
        let outcome = outcome("running 2 tests\ntest a ... ok\n", true);
        assert_eq!(told(&outcome, "a"), Said::Green);
        assert_eq!(told(&outcome, "b"), Said::Hung);
    }

    #[test]
    fn a_metric_is_red_alone_and_a_case_with_any_of_its_metrics() {
        let budgets = "[a.x]\nunit = \"B\"\nceiling = 10\n[a.y]\nunit = \"B\"\nceiling = 10\n";
        let budgets = Budgets::parse(budgets).unwrap();
        let samples = [("x", 9.0), ("y", 11.0)];
        let samples = samples.map(|(metric, figure)| Sample::new(metric, vec![figure]));
        let report = Report { samples: samples.into() };
        let rows = Measured::Rows(figures("a", report, &budgets));
        assert_eq!(judged(&rows, Some("x")), Said::Green);
        assert!(matches!(judged(&rows, Some("y")), Said::Red(why) if why.contains("BROKEN")));
        assert!(matches!(judged(&rows, None), Said::Red(_)));
        assert_eq!(judged(&rows, Some("z")), Said::Nothing);
        let failed = Measured::Failed("a leak".into());
        assert_eq!(judged(&failed, Some("x")), Said::Nothing);
        assert_eq!(judged(&failed, None), Said::Red("a leak".into()));
    }
}
