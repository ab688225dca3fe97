//! The same as one page: a plot a case, its figures beneath. It needs no network.

use std::fmt::Write;

use crate::judge::{CaseJudgement, Judgement};
use crate::svg::{HEIGHT, STYLE, WIDTH, escaped, legend, panel};
use crate::verdict::Verdict;
use crate::wording::{self, Cells};

const PAGE: &str = "\
*{box-sizing:border-box}
:root{color-scheme:light dark}
body{margin:0 auto;max-width:80rem;padding:.75rem;font:1rem/1.45 system-ui,sans-serif;\
background:var(--paper);color:var(--ink);overflow-wrap:anywhere}
h1{font-size:1.5rem}h2{font-size:1.25rem;margin:0}
main{display:grid;gap:1.5rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr))}
section{min-width:0;border-top:1px solid var(--grid);padding-top:.75rem}
svg{display:block;width:100%;height:auto;max-width:32rem}
table{border-collapse:collapse;width:100%}
th,td{padding:.2rem .5rem .2rem 0;text-align:right;vertical-align:top;font-weight:400;\
overflow-wrap:normal}
th:first-child,td:first-child{text-align:left}
thead th{color:var(--faint);border-bottom:1px solid var(--grid)}
.fails{font-weight:700}
ul{padding-left:1.25rem}li{margin:.25rem 0}
";

/// Draws `judgement` as one HTML file: readable on a phone, light or dark.
#[must_use]
pub fn html(judgement: &Judgement) -> String {
    let mut sections = String::new();
    for case in &judgement.cases {
        sections += &section(case, judgement.baseline.is_some());
    }
    let sum = escaped(&wording::sum(judgement));
    let legend = legend();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>memtest</title>\n<style>{STYLE}{PAGE}</style>\n<h1>memtest</h1>\n<p>{sum}</p>\n\
         <p>Each pattern beside its naive twin, which has to break the budget. Where sizes are far \
         apart, both axes are logarithmic: what grows with its size rises, what is bounded is flat.</p>\n\
         <svg viewBox=\"0 0 {WIDTH} 24\" style=\"max-width:{WIDTH}px\" aria-hidden=\"true\">{legend}</svg>\n\
         <main>\n{sections}</main>\n</html>\n"
    )
}

fn section(case: &CaseJudgement, compared: bool) -> String {
    let name = escaped(&case.case);
    let mut text = format!("<section>\n<h2>{name}</h2>\n");
    if let Some((plot, sentence)) = panel(case) {
        let sentence = escaped(&sentence);
        let _ = writeln!(
            text,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{name}-t {name}-d\">\
             <title id=\"{name}-t\">{name}</title><desc id=\"{name}-d\">{sentence}</desc>{plot}</svg>"
        );
    }
    if let Some(error) = &case.error {
        let _ = writeln!(text, "<p class=\"fails\">ERROR: {}</p>", escaped(error));
    }
    if !case.rows.is_empty() {
        text += &table(case, compared);
    }
    text += "<ul>\n";
    let notes = case.rows.iter().filter(|row| !row.note.is_empty());
    let notes = notes.map(|row| format!("{}: {}", row.metric, row.note));
    for told in notes.chain(wording::control(&case.control)) {
        let _ = writeln!(text, "<li>{}</li>", escaped(&told));
    }
    text + "</ul>\n</section>\n"
}

fn table(case: &CaseJudgement, compared: bool) -> String {
    let before = if compared { "<th>before</th>" } else { "" };
    let mut text = format!(
        "<table><thead><tr><th>metric</th><th>budget</th>{before}<th>now</th><th>verdict</th></tr>\
         </thead><tbody>\n"
    );
    for row in &case.rows {
        let cells = Cells::of(row);
        let before = if compared { format!("<td>{}</td>", cells.before) } else { String::new() };
        let fails = if row.verdict == Verdict::Holds { "" } else { " class=\"fails\"" };
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td>{}</td>{before}<td>{}</td><td{fails}>{}</td></tr>",
            // A long name is broken between its words.
            escaped(&row.metric).replace('_', "_<wbr>"),
            cells.budget,
            cells.now,
            row.verdict,
        );
    }
    text + "</tbody></table>\n"
}
