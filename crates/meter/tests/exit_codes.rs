//! The judge is judged: synthetic samples for every verdict and exit code.

use meter::{Budgets, Class, Curve, Judgement, Report, Run, Sample, Verdict, judge, table};

const BUDGETS: &str = r#"
[upload.twin]
name = "Bytes extractor"
must_violate = { peak_slope = 100 }

[upload.peak_slope]
unit = "B/MiB"
ceiling = 4096
recorded = 12

[upload.unit]
unit = "%"
ceiling = 100
floor = 50

[upload.allocs]
unit = "B/op"
ceiling = 40
spread = 0
"#;

const MIB: f64 = 1_048_576.0;

fn slope(bytes_per_mib: f64) -> Sample {
    let points = [1.0, 4.0, 16.0, 64.0].map(|x| (x, 150_000.0 + bytes_per_mib * x));
    Sample::slope("peak_slope", &[Curve::new("MiB", points)])
}

fn pattern() -> Vec<Sample> {
    vec![slope(0.0), Sample::new("unit", vec![80.0, 90.0]), Sample::new("allocs", vec![31.0, 31.0])]
}

fn run(pattern: Vec<Sample>, twin: Vec<Sample>) -> Run {
    let report = |samples| Ok(Report { samples });
    Run { case: "upload".to_owned(), pattern: report(pattern), twin: report(twin) }
}

fn judged(run: Run) -> Judgement {
    judge(&Budgets::parse(BUDGETS).expect("a fixed text"), &[run], true)
}

fn with(metric: &str, repetitions: Vec<f64>) -> Judgement {
    let mut samples = pattern();
    samples.retain(|sample| sample.metric != metric);
    samples.push(Sample::new(metric, repetitions));
    judged(run(samples, vec![slope(3.07 * MIB)]))
}

fn verdict(judgement: &Judgement, metric: &str) -> Verdict {
    let mut rows = judgement.cases[0].rows.iter();
    rows.find(|row| row.metric == metric).expect("a row of this metric").verdict
}

#[test]
fn exit_0_all_hold_and_the_twin_is_detected() {
    let judgement = judged(run(pattern(), vec![slope(3.07 * MIB)]));
    assert!(judgement.cases[0].rows.iter().all(|row| row.verdict == Verdict::Holds));
    assert_eq!(judgement.cases[0].control.verdict, Verdict::Detected);
    assert_eq!(judgement.cases[0].rows[0].class, Some(Class::Constant));
    assert_eq!(judgement.exit_code(), 0);
}

#[test]
fn exit_1_the_pattern_could_not_be_measured() {
    let mut run = run(vec![], vec![slope(3.07 * MIB)]);
    run.pattern = Err("the process ended with signal 6".to_owned());
    let judgement = judged(run);
    assert_eq!(judgement.exit_code(), 1);
    assert!(judgement.cases[0].rows.is_empty(), "one line tells it");
    assert!(table(&judgement).contains("ERROR: the process ended with signal 6"));
}

#[test]
fn exit_2_a_ceiling_is_broken_by_the_worst_repetition() {
    let judgement = with("allocs", vec![30.0, 41.0, 30.0]);
    assert_eq!(verdict(&judgement, "allocs"), Verdict::Broken);
    assert_eq!(judgement.exit_code(), 2);
}

#[test]
fn exit_2_a_segment_is_steep_where_the_endpoints_are_flat() {
    let points = [(1.0, 0.0), (4.0, 3.0 * MIB), (16.0, 0.0), (64.0, 0.0)];
    let curves = [Curve::new("MiB", points)];
    assert_eq!(Sample::slope("peak_slope", &curves).worst(), 0.0);
    let steep = Sample::steepest("peak_slope", &curves);
    let rest = pattern().split_off(1);
    let judgement = judged(run(rest.into_iter().chain([steep]).collect(), vec![slope(3.07 * MIB)]));
    assert_eq!(verdict(&judgement, "peak_slope"), Verdict::Broken);
    assert_eq!(judgement.exit_code(), 2);
}

#[test]
fn exit_2_a_formula_promises_far_more_than_is_used() {
    let judgement = with("unit", vec![90.0, 49.0]);
    assert_eq!(verdict(&judgement, "unit"), Verdict::Loose);
    assert_eq!(judgement.exit_code(), 2);
}

#[test]
fn exit_3_the_twin_is_not_detected() {
    // As the pattern; above the ceiling but within the margin; without a figure.
    for twin in [vec![slope(0.0)], vec![slope(99.0 * 4096.0)], vec![]] {
        let judgement = judged(run(pattern(), twin));
        assert_eq!(judgement.cases[0].control.verdict, Verdict::Toothless);
        assert_eq!(judgement.exit_code(), 3);
    }
}

#[test]
fn exit_3_the_twin_is_detected_in_some_repetitions_only() {
    let mut twin = slope(3.07 * MIB);
    twin.repetitions.push(0.0);
    assert_eq!(judged(run(pattern(), vec![twin])).exit_code(), 3);
}

#[test]
fn exit_3_the_twin_crashed() {
    let mut run = run(pattern(), vec![]);
    run.twin = Err("the process ended with signal 9".to_owned());
    let judgement = judged(run);
    assert_eq!(judgement.cases[0].control.verdict, Verdict::Toothless);
    assert_eq!(judgement.exit_code(), 3);
}

#[test]
fn exit_5_something_is_missing() {
    let twin = || vec![slope(3.07 * MIB)];
    // A budget without a figure, and a figure without a budget.
    assert_eq!(with("allocs", vec![]).exit_code(), 5);
    assert_eq!(judged(run(pattern().split_off(1), twin())).exit_code(), 5);
    assert_eq!(with("unheard_of", vec![1.0]).exit_code(), 5);
    // A case without budgets, budgets without a case, a case without a twin.
    let budgets = Budgets::parse(BUDGETS).unwrap();
    assert_eq!(judge(&Budgets::default(), &[run(pattern(), twin())], true).exit_code(), 5);
    assert_eq!(judge(&budgets, &[], true).exit_code(), 5);
    assert_eq!(judge(&budgets, &[], false).exit_code(), 0, "it was not asked for");
    let mut bare = budgets.clone();
    bare.cases.get_mut("upload").unwrap().twin = None;
    assert_eq!(judge(&bare, &[run(pattern(), twin())], true).exit_code(), 5);
    let mut idle = budgets;
    idle.cases.get_mut("upload").unwrap().twin.as_mut().unwrap().must_violate.clear();
    assert_eq!(judge(&idle, &[run(pattern(), twin())], true).exit_code(), 5);
}

#[test]
fn exit_6_repetitions_are_too_far_apart() {
    let judgement = with("allocs", vec![30.0, 31.0]);
    assert_eq!(verdict(&judgement, "allocs"), Verdict::Unstable);
    assert_eq!(judgement.exit_code(), 6);
}

#[test]
fn with_several_1_wins_over_3_over_2_over_6_over_5() {
    let order = [
        Verdict::Error,
        Verdict::Toothless,
        Verdict::Broken,
        Verdict::Unstable,
        Verdict::Missing,
        Verdict::Holds,
    ];
    for (i, graver) in order.iter().enumerate() {
        for lesser in &order[i..] {
            assert_eq!(Verdict::gravest([*lesser, *graver].into_iter()), *graver);
            assert_eq!(Verdict::gravest([*graver, *lesser].into_iter()), *graver);
        }
    }
    // Through a whole judgement: broken and missing and not detected.
    let broken = vec![Sample::new("allocs", vec![41.0])];
    let judgement = judged(run(broken.clone(), vec![slope(0.0)]));
    assert_eq!(judgement.exit_code(), 3);
    assert_eq!(judged(run(broken, vec![slope(3.07 * MIB)])).exit_code(), 2);
}

#[test]
fn a_leak_comes_out_as_a_leak() {
    let budgets = Budgets::parse(
        "[soak.twin]\nname = 'keeps an entry'\nmust_violate = { retained_per_op = 10 }\n\
         [soak.retained_per_op]\nunit = 'B/op'\nceiling = 1",
    )
    .unwrap();
    let retained = |per_op: f64| {
        let points = [0.0, 1000.0, 2000.0].map(|ops| (ops, ops * per_op));
        Sample::slope("retained_per_op", &[Curve::new("operations", points)])
    };
    let run = |per_op| Run {
        case: "soak".to_owned(),
        pattern: Ok(Report { samples: vec![retained(per_op)] }),
        twin: Ok(Report { samples: vec![retained(64.0)] }),
    };
    assert_eq!(judge(&budgets, &[run(0.0)], true).exit_code(), 0);
    let leak = judge(&budgets, &[run(5.0)], true);
    assert_eq!(leak.exit_code(), 2);
    assert_eq!(leak.cases[0].rows[0].class, Some(Class::Linear));
}

#[test]
fn the_table_tells_the_excess_in_bytes_and_as_a_factor_within_110_columns() {
    let note = "a note that is so long that it has to be wrapped between its words ".repeat(4);
    let mut samples = pattern();
    samples[1] = Sample::new("held", vec![819.2]).share_of("unit", 1024).with_note(note);
    let text = table(&judged(run(samples, vec![slope(3.07 * MIB)])));
    let control = "naive twin (Bytes extractor): peak_slope 3.07 MiB/MiB, excess 193 MiB at 64 MiB, \
                   786x the budget:";
    assert!(text.contains(control), "{text}");
    assert!(text.contains("1 KiB            -        819 B     20 %"), "{text}");
    assert!(text.contains("1 case: 3 hold, 1 detected: exit 0"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= table::WIDTH), "{text}");
}
