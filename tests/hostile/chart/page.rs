//! The chart as one page, with the figures of its worst moment beneath. It needs neither
//! network nor script.

use std::fmt::Write as _;

use budget::Mib;

use super::Chart;
use super::svg::escaped;
use crate::watch::signed;

const PAGE: &str = "\
:root{color-scheme:light dark}
body{margin:0 auto;max-width:50rem;padding:.75rem;font:1rem/1.45 system-ui,sans-serif;\
background:var(--paper);color:var(--ink)}
h1{font-size:1.5rem}svg{display:block;width:100%;height:auto}
table{border-collapse:collapse}th,td{padding:.2rem .75rem .2rem 0;text-align:right;\
font-weight:400}th:first-child,td:first-child{text-align:left}
thead th{color:var(--faint);border-bottom:1px solid var(--grid)}
";

impl Chart<'_> {
    pub fn html(&self) -> String {
        let (svg, sentence, table) = (self.svg(), escaped(&self.sentence()), self.table());
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>The load line</title>\n<style>{PAGE}</style>\n<h1>The load line</h1>\n\
             <p>What the plan has for the terms in use is stacked; memory measured is the line. \
             What lies between them is the residual.</p>\n{svg}<p>{sentence}</p>\n{table}</html>\n"
        )
    }

    /// Each term at the worst moment.
    fn table(&self) -> String {
        let Some(worst) = self.worst() else { return String::new() };
        let mut text = format!(
            "<h2>Where most was measured, after {:.1} s</h2>\n<table><thead><tr><th>term</th>\
             <th>in use</th><th>of</th><th>has</th><th>at most</th></tr></thead><tbody>\n",
            worst.at.as_secs_f64()
        );
        for term in &worst.memory.terms {
            let _ = writeln!(
                text,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escaped(&term.name),
                term.in_use,
                term.count,
                Mib(term.bytes_in_use),
                Mib(term.bytes)
            );
        }
        for (name, measured, in_use) in [
            ("resident memory, residual", worst.resident, worst.memory.in_use(false)),
            ("sockets, residual", worst.sockets, worst.memory.in_use(true)),
        ] {
            let residual = signed(measured.cast_signed() - in_use.cast_signed());
            let _ = writeln!(
                text,
                "<tr><td>{name}</td><td></td><td></td><td>{}</td><td>{residual}</td></tr>",
                Mib(measured)
            );
        }
        text + "</tbody></table>\n"
    }
}
