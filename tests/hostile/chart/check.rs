//! The drawing itself, from samples that were made up.

use std::time::Duration;

use budget::{Kind, Limit, Plan, Source, Term};
use libtest_mimic::Failed;

use super::{COLUMNS, Chart};
use crate::scene::{Memory, Used};
use crate::watch::{Sample, Watch};

const MIB: u64 = 1 << 20;

/// More samples than columns, with one peak among them.
const SAMPLES: u64 = 1000;
const PEAK: u64 = 437;

/// Name, kind, and what is in use of it in MiB, from the first sample to the last. Two
/// of them are too small to be seen alone.
const TERMS: [(&str, Kind, u64, u64); 5] = [
    ("base", Kind::Resident, 10, 10),
    ("a<b & \"c\"", Kind::Heap, 2, 20),
    ("small", Kind::Heap, 1, 1),
    ("sockets", Kind::Kernel, 0, 16),
    ("smaller", Kind::Heap, 0, 1),
];

fn plan() -> Plan {
    let term = |(name, kind, _, count)| Term {
        name,
        count,
        unit: MIB,
        kind,
        setting: None,
        held_by: "a test",
    };
    let limit = Limit { bytes: 64 * MIB, source: Source::ControlGroup };
    Plan { terms: TERMS.map(term).to_vec(), limit }
}

fn watch() -> Watch {
    let sample = |at: u64| {
        let term = |(name, kind, first, last): (&str, Kind, u64, u64)| Used {
            name: name.to_owned(),
            count: last,
            in_use: last,
            kind: if kind == Kind::Kernel { "kernel" } else { "heap" }.to_owned(),
            bytes: last * MIB,
            bytes_in_use: first * MIB + (last - first) * MIB * at / SAMPLES,
        };
        let resident = if at == PEAK { 50 } else { 12 + at * 10 / SAMPLES };
        Sample {
            at: Duration::from_millis(100 * at),
            live: 4 * MIB,
            resident: resident * MIB,
            anonymous: 0,
            sockets: MIB,
            memory: Memory { terms: TERMS.map(term).to_vec() },
        }
    };
    Watch { samples: (0..SAMPLES).map(sample).collect(), ..Watch::default() }
}

/// Where a path of this class goes, upper edge first: pairs of x and y.
fn points(svg: &str, class: &str) -> Vec<Vec<(f64, f64)>> {
    let start = format!("<path class=\"{class}\" d=\"M");
    let paths = svg.split(&start).skip(1).map(|rest| rest.split(['"', 'V', 'Z']).next().unwrap());
    // The legend's are drawn step by step.
    let paths = paths.filter(|path| !path.contains('h')).map(|path| {
        let pair = |pair: &str| {
            let (x, y) = pair.split_once(' ').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        };
        path.split('L').map(pair).collect()
    });
    paths.collect()
}

pub fn stack_adds_up() -> Result<(), Failed> {
    let (watch, plan) = (watch(), plan());
    let svg = Chart::of(&watch, &plan).svg();
    let (_, drawn) = svg.split_once("</defs>").unwrap();
    let (drawn, _) = drawn.split_once("class=\"rule").unwrap();
    // From the highest edge to the lowest: sockets, small ones, a<b, base.
    let edges: Vec<_> = ["band k1", "band p0", "band p1", "band p0"].into();
    let mut edges: Vec<_> = edges.into_iter().map(|class| points(drawn, class)).collect();
    let base = edges[3].pop().unwrap();
    let edges = [edges[0].remove(0), edges[1].remove(0), edges[2].remove(0), base];
    // What a MiB is high, from the lines of the limit and of the axis.
    let axis: f64 = 376.0;
    let per_mib = (axis - edges[3][0].1) / 10.0;
    for (column, sample) in Chart::of(&watch, &plan).columns.iter().enumerate() {
        let in_use = |names: &[&str]| {
            let bytes: u64 = names.iter().map(|name| sample.memory.of(name).bytes_in_use).sum();
            bytes as f64 / MIB as f64
        };
        let mut below = axis;
        for (edge, names) in edges.iter().rev().zip([
            &["base"][..],
            &["a<b & \"c\""],
            &["small", "smaller"],
            &["sockets"],
        ]) {
            let height = (below - edge[column].1) / per_mib;
            let expected = in_use(names);
            assert!((height - expected).abs() < 0.02, "{names:?}: {height}, not {expected}");
            below = edge[column].1;
        }
        let all = (sample.memory.in_use(false) + sample.memory.in_use(true)) as f64 / MIB as f64;
        assert!(((axis - below) / per_mib - all).abs() < 0.05, "column {column}");
    }
    Ok(())
}

pub fn keeps_the_peak() -> Result<(), Failed> {
    let (watch, plan) = (watch(), plan());
    let chart = Chart::of(&watch, &plan);
    assert!(chart.columns.len() <= COLUMNS);
    assert_eq!(chart.measured().into_iter().max(), Some(watch.peak()));
    let svg = chart.svg();
    assert!(svg.contains("measured, resident and sockets: up to 51.00 MiB"), "{svg}");
    // At the peak 51 MiB are measured. All terms have 10 + 9.87 + 1 + 6.99 + 0.44 there.
    let over = &points(&svg, "over")[0];
    let peak = over.iter().map(|point| point.1).fold(f64::MAX, f64::min);
    let measured = &points(&svg, "curve measured")[0];
    let highest = measured.iter().map(|point| point.1).fold(f64::MAX, f64::min);
    assert!((peak - highest).abs() < 0.01, "the residual ends at what was measured");
    Ok(())
}

pub fn is_well_formed() -> Result<(), Failed> {
    let (watch, plan) = (watch(), plan());
    let chart = Chart::of(&watch, &plan);
    let (svg, page) = (chart.svg(), chart.html());
    assert_well_formed(&svg);
    let (_, body) = page.split_once("<h1>").unwrap();
    assert_well_formed(&format!("<html><h1>{body}"));
    for text in [&svg, &page] {
        assert!(text.contains("a&lt;b &amp; &quot;c&quot;") && !text.contains("a<b"), "{text}");
        assert!(text.contains("prefers-color-scheme:dark"));
        assert!(!text.contains("NaN") && !text.contains("inf") && !text.contains("<script"));
    }
    let elsewhere = ["src=", "href=", "@import", "url(h", "https:"];
    assert!(elsewhere.iter().all(|text| !page.contains(text)), "it needs no network");
    // Of a run that ended at once there is a picture, too.
    assert_well_formed(&Chart::of(&Watch::default(), &plan).html().replace("<!doctype html>", ""));
    Ok(())
}

/// Every element is closed, in order, and every text and attribute is escaped.
fn assert_well_formed(xml: &str) {
    const VOID: [&str; 1] = ["meta"];
    let mut open = Vec::new();
    for part in xml.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap_or_else(|| panic!("no end: {part}"));
        assert!(!text.contains('&') || text.contains(';'), "{text}");
        let name = tag.split_whitespace().next().unwrap_or_default();
        match (name.strip_prefix('/'), tag.ends_with('/') || VOID.contains(&name)) {
            (Some(name), _) => assert_eq!(open.pop(), Some(name), "in {tag}"),
            (None, false) => open.push(name),
            (None, true) => (),
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
    }
    assert_eq!(open, Vec::<&str>::new());
}
