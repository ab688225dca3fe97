//! The page and the picture: what has to be in them, from synthetic samples.

use meter::{Budgets, Curve, Judgement, Report, Run, Sample, html, judge, picture};

const BUDGETS: &str = r#"
[upload.twin]
name = "<Bytes> & extractor"
must_violate = { peak_slope = 100 }
[upload.peak_slope]
unit = "B/MiB"
ceiling = 64
[records.twin]
name = "a serde_json::Value"
must_violate = { record = 4 }
[records.record]
unit = "B"
ceiling = 192
[broken.twin]
name = "as it comes"
must_violate = { held = 2 }
[broken.held]
unit = "B"
ceiling = 1
"#;

fn judgement() -> Judgement {
    let slope = |per_mib: f64| {
        let points = [1.0, 4.0, 16.0, 64.0].map(|x| (x, 123_000.0 + per_mib * x));
        vec![Sample::slope("peak_slope", &[Curve::new("MiB", points)])]
    };
    let record = |bytes| vec![Sample::new("record", vec![bytes])];
    let run = |case: &str, pattern, twin| Run {
        case: case.to_owned(),
        pattern: Ok(Report { samples: pattern }),
        twin: Ok(Report { samples: twin }),
    };
    let mut broken = run("broken", vec![], vec![]);
    broken.pattern = Err("it <ended>".to_owned());
    let runs = [
        run("upload", slope(1.0), slope(2.1e6)),
        run("records", record(184.0), record(956.0)),
        broken,
    ];
    judge(&Budgets::parse(BUDGETS).expect("a fixed text"), &runs, true)
}

/// Every element is closed, in order, and every text and attribute is escaped.
fn assert_well_formed(xml: &str) {
    let mut open = Vec::new();
    for part in xml.split('<').skip(1) {
        let (tag, text) = part.split_once('>').expect("a tag that ends");
        assert!(!text.contains('&') || text.contains(';'), "{text}");
        let name = tag.split_whitespace().next().unwrap_or_default();
        match (name.strip_prefix('/'), tag.ends_with('/')) {
            (Some(name), _) => assert_eq!(open.pop(), Some(name), "in {tag}"),
            (None, false) => open.push(name),
            (None, true) => (),
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
    }
    assert_eq!(open, Vec::<&str>::new());
}

#[test]
fn the_picture_has_the_peaks_over_sizes_and_a_sentence_for_who_can_not_see_it() {
    let svg = picture(&judgement());
    assert_well_formed(&svg);
    assert!(svg.contains("<title>upload</title>") && !svg.contains("<title>records</title>"));
    assert!(
        svg.contains("Pattern: 120 KiB at 1, 120 KiB at 64 MiB; naive twin: 2.12 MiB at 1"),
        "{svg}"
    );
    assert!(svg.contains("prefers-color-scheme:dark"));
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn the_page_has_each_case_its_figures_and_nothing_from_elsewhere() {
    let page = html(&judgement());
    for text in ["<h2>upload</h2>", "<h2>records</h2>", "<h2>broken</h2>", "peak_<wbr>slope"] {
        assert!(page.contains(text), "{text}");
    }
    assert!(page.contains("&lt;Bytes&gt; &amp; extractor") && page.contains("it &lt;ended&gt;"));
    let elsewhere = ["http:", "https:", "src=", "href=", "@import", "url("];
    assert!(elsewhere.iter().all(|text| !page.contains(text)), "it needs no network");
    let (_, plots) = page.split_once("<section>").expect("a case");
    plots.split("<svg").skip(1).for_each(|svg| {
        let svg = svg.split("</svg>").next().unwrap_or_default();
        assert_well_formed(&format!("<svg{svg}</svg>"));
    });
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
}

#[test]
fn a_metric_that_fails_stands_out_in_words_too() {
    let mut judgement = judgement();
    judgement.compare("v1", &Judgement { baseline: None, cases: Vec::new() });
    let page = html(&judgement);
    assert!(page.contains("<td class=\"fails\">MISSING</td>") && page.contains("<th>before</th>"));
}
