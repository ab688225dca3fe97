//! One HTML file, without a network: a bar a server, for each scenario.

use std::fmt::Write as _;

use super::{Report, cells, header, title};
use crate::scenarios::Unit;

const STYLE: &str = "\
:root{color-scheme:light dark;--bar:#4a7ebb;--ours:#c2571a;--line:#8888}\
body{font:16px/1.4 system-ui,sans-serif;max-width:60rem;margin:1rem auto;padding:0 1rem}\
table{border-collapse:collapse;display:block;overflow-x:auto}\
th,td{padding:.15rem .6rem;text-align:right;border-bottom:1px solid var(--line)}\
th:first-child,td:first-child{text-align:left;white-space:nowrap}\
td.bar{min-width:9rem}td.bar i{display:block;height:.9rem;background:var(--bar)}\
tr.ours td.bar i{background:var(--ours)}tr.ours{font-weight:600}";

/// The page.
pub fn html(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content='width=device-width'><title>Bench</title>\
         <style>{STYLE}</style><h1>Bench</h1><p>{}; median of {} rounds.</p>",
        escape(&report.machine),
        report.rounds,
    );
    for outcome in &report.outcomes {
        let _ = write!(page, "<h2>{}</h2><table><tr>", escape(&title(outcome)));
        for name in header(outcome.unit) {
            let _ = write!(page, "<th>{name}");
        }
        let is_held = matches!(outcome.unit, Unit::Held | Unit::Least);
        let _ = write!(page, "<th>{}", if is_held { "less is better" } else { "more is better" });
        let length = |held: Option<f64>, speed: f64| {
            held.filter(|held| held.is_finite()).unwrap_or(speed).max(0.0)
        };
        let most = outcome.rows.iter().map(|row| length(row.held, row.speed));
        let most = most.fold(f64::MIN_POSITIVE, f64::max);
        for row in &outcome.rows {
            let class = if row.peer == "ours" { " class=ours" } else { "" };
            let _ = write!(page, "<tr{class}>");
            let mut cells = cells(outcome.unit, row);
            cells.resize(header(outcome.unit).len(), String::new());
            for cell in &cells {
                let _ = write!(page, "<td>{}", escape(cell));
            }
            let percent = length(row.held, row.speed) / most * 100.0;
            let _ = write!(page, "<td class=bar><i style='width:{percent:.1}%'></i>");
        }
        page.push_str("</table>");
    }
    for missing in &report.missing {
        let _ = write!(page, "<p>Not here: {}.</p>", escape(missing));
    }
    page.push_str("</html>\n");
    page
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
