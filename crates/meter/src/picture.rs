//! One picture of the cases whose peak is measured over sizes, for a README.

use std::fmt::Write;

use crate::judge::{CaseJudgement, Judgement};
use crate::plot::Plot;
use crate::svg::{HEIGHT, STYLE, WIDTH, escaped, legend, panel};

/// Two plots side by side: at the width of a README, text is as large as the
/// README's.
const COLUMNS: usize = 2;
const GAP: f64 = 24.0;
const HEAD: f64 = 40.0;
const TITLE: f64 = 28.0;

/// Draws `judgement` as one SVG file, which follows the reader's theme and needs
/// nothing else.
#[must_use]
pub fn picture(judgement: &Judgement) -> String {
    let over_sizes = |case: &&CaseJudgement| matches!(Plot::of(case), Some(Plot::Lines(lines)) if lines.is_over_sizes());
    let cases: Vec<_> = judgement.cases.iter().filter(over_sizes).collect();
    let (mut body, mut told) = (String::new(), Vec::new());
    for (i, case) in cases.iter().enumerate() {
        let Some((plot, sentence)) = panel(case) else { continue };
        let x = (i % COLUMNS) as f64 * (WIDTH + GAP);
        let y = HEAD + (i / COLUMNS) as f64 * (TITLE + HEIGHT + GAP);
        let name = escaped(&case.case);
        let _ = writeln!(
            body,
            "<g transform=\"translate({x} {y})\"><title>{name}</title>\
             <text x=\"8\" y=\"18\" font-weight=\"600\">{name}</text>\
             <g transform=\"translate(0 {TITLE})\">{plot}</g></g>"
        );
        told.push(format!("{name}: {}", escaped(&sentence)));
    }
    let width = COLUMNS as f64 * WIDTH + (COLUMNS - 1) as f64 * GAP;
    let height = HEAD + cases.len().div_ceil(COLUMNS) as f64 * (TITLE + HEIGHT + GAP);
    let (legend, told) = (legend(), told.join(" "));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         role=\"img\" aria-labelledby=\"t d\">\n<title id=\"t\">Peak memory against size, each pattern \
         beside its naive twin, both axes logarithmic</title>\n<desc id=\"d\">{told}</desc>\n\
         <style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"var(--paper)\"/>\n\
         <g transform=\"translate(0 8)\">{legend}</g>\n{body}</svg>\n"
    )
}
