//! A run beside an earlier one, and what the formats say of it: synthetic samples.

use meter::{Budgets, Curve, Judgement, Report, Run, Sample, Verdict, judge, markdown, table};

const BUDGETS: &str = r#"
[upload.twin]
name = "Bytes | extractor"
must_violate = { peak_slope = 100 }
[upload.peak_slope]
unit = "B/MiB"
ceiling = 64
[upload.peak]
unit = "B"
ceiling = 4096
"#;

fn slope(per_mib: f64) -> Sample {
    let points = [1.0, 4.0, 16.0, 64.0].map(|x| (x, 150_000.0 + per_mib * x));
    Sample::slope("peak_slope", &[Curve::new("MiB", points)])
}

fn judged(pattern: Vec<Sample>) -> Judgement {
    let twin = vec![slope(2_000_000.0)];
    let run = Run {
        case: "upload".to_owned(),
        pattern: Ok(Report { samples: pattern }),
        twin: Ok(Report { samples: twin }),
    };
    judge(&Budgets::parse(BUDGETS).expect("a fixed text"), &[run], true)
}

fn peak(bytes: f64) -> Judgement {
    judged(vec![slope(0.0), Sample::new("peak", vec![bytes])])
}

/// As it comes back from a file.
fn saved(judgement: &Judgement) -> Judgement {
    let json = serde_json::to_string(judgement).expect("figures and names");
    serde_json::from_str(&json).expect("what was written is read")
}

#[test]
fn before_and_now_stand_side_by_side_with_their_difference() {
    let mut now = peak(3072.0);
    now.compare("v1", &saved(&peak(1024.0)));
    let text = table(&now);
    let line = text.lines().find(|line| line.contains(" peak ")).unwrap();
    let cells: Vec<&str> = line.split_whitespace().collect();
    let told = "peak 4 KiB 1 KiB 3 KiB +2 KiB 25 % - holds";
    assert_eq!(cells.join(" "), told);
    assert!(text.contains("1 case, before: v1: 2 hold, 1 detected: exit 0"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= table::WIDTH), "{text}");
    assert!(
        markdown(&now).contains("| peak | 4 KiB | 1 KiB | 3 KiB | +2 KiB | 25 % | - | holds |")
    );
}

#[test]
fn a_share_of_another_formula_is_told_in_its_bytes() {
    let share = |formula| {
        let share = Sample::new("peak", vec![512.0]).share_of("peak", formula);
        judged(vec![slope(0.0), share])
    };
    let mut now = share(1024);
    now.compare("v1", &saved(&share(2048)));
    let line = table(&now).lines().find(|line| line.contains(" peak ")).unwrap().to_owned();
    assert!(line.contains("512 B        512 B        0 B"), "{line}");
}

#[test]
fn exit_5_a_metric_is_in_one_of_the_two_only() {
    let mut now = peak(1024.0);
    now.compare("v1", &saved(&judged(vec![slope(0.0)])));
    assert_eq!((now.cases[0].rows[1].verdict, now.exit_code()), (Verdict::Missing, 5));

    let mut earlier = saved(&peak(1024.0));
    earlier.cases[0].rows[1].metric = "peak_of_old".to_owned();
    let mut now = peak(1024.0);
    now.compare("v1", &earlier);
    let rows = &now.cases[0].rows;
    assert_eq!((rows[2].metric.as_str(), rows[2].verdict), ("peak_of_old", Verdict::Missing));
    assert_eq!((rows[2].before, rows[2].now), (Some(1024.0), None));
}

#[test]
fn exit_5_the_baseline_lacks_the_case_or_is_empty() {
    let mut now = peak(1024.0);
    now.compare("v1", &Judgement { baseline: None, cases: Vec::new() });
    assert_eq!(now.exit_code(), 5);
}

#[test]
fn a_broken_budget_stays_broken_beside_a_baseline_that_lacks_it() {
    let mut now = peak(5000.0);
    now.compare("v1", &saved(&judged(vec![slope(0.0)])));
    assert_eq!((now.cases[0].rows[1].verdict, now.exit_code()), (Verdict::Broken, 2));
}

#[test]
fn a_twin_that_crashed_and_what_is_not_a_number_survive_the_file() {
    let mut judgement = peak(1024.0);
    judgement.cases[0].control.findings[0].now = f64::NAN;
    judgement.cases[0].control.findings[0].factor = f64::INFINITY;
    let back = saved(&judgement);
    assert!(back.cases[0].control.findings[0].now.is_nan());
    assert_eq!(back.cases[0].rows[0].curve.as_ref().unwrap().points.len(), 4);
    assert!(back.cases[0].control.findings[0].curve.is_some(), "what a plot is drawn from");
}

#[test]
fn markdown_has_a_table_a_case_and_what_failed_stands_out() {
    let text = markdown(&peak(5000.0));
    assert!(text.starts_with("**1 case: 1 hold"), "{text}");
    assert!(text.contains("\n### upload\n\n| metric | budget |"), "{text}");
    assert!(text.contains("| 4.88 KiB | -22 % | - | **BROKEN** |"), "{text}");
    assert!(text.contains("- naive twin (Bytes \\| extractor): peak_slope"), "{text}");
}
