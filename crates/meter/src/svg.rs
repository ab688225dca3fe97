//! A plot as SVG: pattern, naive twin and ceiling differ in dashes and marks, not
//! by colour alone. Colours are the page's (`STYLE`), light or dark.

use std::fmt::Write;

use crate::curve::{Curve, Point};
use crate::figure::{bytes, digits};
use crate::judge::CaseJudgement;
use crate::plot::{Bars, Lines, Plot};
use crate::scale::Scale;
use crate::wording;

/// Of a plot, in units that are pixels on a phone: text of 16 is read there.
pub(crate) const WIDTH: f64 = 320.0;
pub(crate) const HEIGHT: f64 = 240.0;

const LEFT: f64 = 72.0;
const RIGHT: f64 = WIDTH - 12.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = HEIGHT - 50.0;

/// The colours of both themes, and how what is drawn looks.
pub(crate) const STYLE: &str = "\
:root{--paper:#fff;--ink:#1b1f24;--faint:#59636e;--grid:#d1d9e0;--pattern:#0969da;--twin:#bc4c00;\
--ceiling:#1a7f37}
@media(prefers-color-scheme:dark){:root{--paper:#0d1117;--ink:#f0f6fc;--faint:#9198a1;\
--grid:#3d444d;--pattern:#58a6ff;--twin:#f0883e;--ceiling:#3fb950}}
svg text{font:16px system-ui,sans-serif;fill:var(--ink)}
svg .faint{fill:var(--faint)}
svg .grid{stroke:var(--grid)}
svg .line{fill:none;stroke-width:2.5}
svg .pattern{stroke:var(--pattern)}svg .twin{stroke:var(--twin);stroke-dasharray:7 4}
svg .ceiling{stroke:var(--ceiling);stroke-width:2;stroke-dasharray:2 3}
svg .dot{fill:var(--pattern)}svg .square{fill:var(--twin)}
svg .full{fill:var(--pattern)}
svg .hollow{fill:var(--paper);stroke:var(--twin);stroke-width:2;stroke-dasharray:7 4}
";

/// A case's plot: what is in the `svg` element, and a sentence that says the same.
/// `None` where nothing was measured.
pub(crate) fn panel(case: &CaseJudgement) -> Option<(String, String)> {
    Some(match Plot::of(case)? {
        Plot::Lines(plot) => lines(&plot),
        Plot::Bars(plot) => bars(&plot),
    })
}

/// What the marks mean, in a row; 320 wide, 24 high.
pub(crate) fn legend() -> String {
    let y = 12.0;
    let mut text = String::new();
    for (x, class, name) in
        [(4.0, "pattern", "pattern"), (110.0, "twin", "twin"), (196.0, "ceiling", "ceiling")]
    {
        let _ = write!(text, r#"<path class="line {class}" d="M{x} {y}h30"/>"#);
        text += &mark(class, x + 15.0, y);
        let _ = write!(text, r#"<text x="{}" y="{}">{name}</text>"#, x + 36.0, y + 5.0);
    }
    text
}

/// What XML reads otherwise.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn lines(plot: &Lines<'_>) -> (String, String) {
    let curves = || [Some(plot.pattern), plot.twin].into_iter().flatten();
    let points = || curves().flat_map(|curve| curve.points.iter());
    let x = Scale::over(points().map(|point| point.x));
    let allowed: Vec<Point> = x.steps(32).filter_map(|x| plot.allowed(x)).collect();
    let y = Scale::over(points().chain(&allowed).map(|point| point.y)).widened();
    let place = |point: &Point| (across(x.place(point.x)), up(y.place(point.y)));

    let mut body = String::new();
    for tick in y.ticks() {
        let at = up(y.place(tick));
        let _ = write!(body, r#"<path class="grid" d="M{LEFT} {at:.1}H{RIGHT}"/>"#);
        body += &label(LEFT - 6.0, at + 5.0, "end", &bytes(tick));
    }
    for point in &plot.pattern.points {
        body += &label(place(point).0, BOTTOM + 20.0, "middle", &short(point.x));
    }
    let axis = format!("peak, by {}", plot.pattern.axis);
    let axis = if plot.is_over_sizes() { axis } else { axis.replace("peak", "live") };
    body += &label(across(0.5), HEIGHT - 6.0, "middle", &axis);
    let twin = plot.twin.map(|curve| ("twin", curve));
    for (class, curve) in twin.into_iter().chain([("pattern", plot.pattern)]) {
        body += &path(class, &mut curve.points.iter().map(place));
        body.extend(curve.points.iter().map(place).map(|(x, y)| mark(class, x, y)));
    }
    // Last: a pattern that is flat lies just below it.
    body += &path("ceiling", &mut allowed.iter().map(place));
    (body, sentence(plot, &axis))
}

fn sentence(plot: &Lines<'_>, axis: &str) -> String {
    let told = |curve: &Curve| match &curve.points[..] {
        [first, .., last] => format!(
            "{} at {}, {} at {} {}",
            bytes(first.y),
            short(first.x),
            bytes(last.y),
            short(last.x),
            curve.axis
        ),
        _ => String::new(),
    };
    let mut text = format!("{axis}. Pattern: {}", told(plot.pattern));
    if let Some(twin) = plot.twin {
        let _ = write!(text, "; naive twin: {}", told(twin));
    }
    text + "."
}

/// Three bars, each with its figure: by length from 0, since that is how bars are
/// read.
fn bars(plot: &Bars<'_>) -> (String, String) {
    let Bars { row, now, ceiling, twin } = *plot;
    let figures =
        [Some(("pattern", now)), Some(("ceiling", ceiling)), twin.map(|twin| ("twin", twin))];
    let figures = || figures.into_iter().flatten();
    let scale = Scale::over([0.0].into_iter().chain(figures().map(|figure| figure.1)));
    let mut body = String::new();
    let mut told = Vec::new();
    for (i, (name, figure)) in figures().enumerate() {
        let y = TOP + 8.0 + 62.0 * i as f64;
        let (from, to) = (scale.place(0.0), scale.place(figure));
        let (x, width) = (8.0 + 304.0 * from.min(to), (304.0 * (to - from).abs()).max(2.0));
        let figure = wording::tell(row, figure);
        body += &format!(r#"<text x="8" y="{}">{name}: {figure}</text>"#, y + 12.0);
        body += &match name {
            "ceiling" => {
                let y = y + 31.0;
                format!(r#"<path class="line ceiling" d="M{x:.1} {y}h{width:.1}"/>"#)
            }
            "twin" => {
                let y = y + 21.0;
                format!(
                    r#"<rect class="hollow" x="{x:.1}" y="{y}" width="{width:.1}" height="20"/>"#
                )
            }
            _ => {
                let y = y + 21.0;
                format!(r#"<rect class="full" x="{x:.1}" y="{y}" width="{width:.1}" height="20"/>"#)
            }
        };
        told.push(format!("{name} {figure}"));
    }
    body += &label(WIDTH / 2.0, HEIGHT - 6.0, "middle", &row.metric);
    (body, format!("{}: {}.", row.metric, told.join(", ")))
}

fn path(class: &str, places: &mut dyn Iterator<Item = (f64, f64)>) -> String {
    let mut steps = String::new();
    for (i, (x, y)) in places.enumerate() {
        let _ = write!(steps, "{}{x:.1} {y:.1}", if i == 0 { "M" } else { "L" });
    }
    format!(r#"<path class="line {class}" d="{steps}"/>"#)
}

fn mark(class: &str, x: f64, y: f64) -> String {
    match class {
        "pattern" => format!(r#"<circle class="dot" cx="{x:.1}" cy="{y:.1}" r="4"/>"#),
        "twin" => {
            let (x, y) = (x - 4.0, y - 4.0);
            format!(r#"<rect class="square" x="{x:.1}" y="{y:.1}" width="8" height="8"/>"#)
        }
        _ => String::new(),
    }
}

fn label(x: f64, y: f64, anchor: &str, text: &str) -> String {
    let text = escaped(text);
    format!(r#"<text class="faint" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#)
}

fn across(place: f64) -> f64 {
    LEFT + place * (RIGHT - 12.0 - LEFT) + 6.0
}

fn up(place: f64) -> f64 {
    BOTTOM - place * (BOTTOM - TOP)
}

/// 100,000 as 100k: labels stand side by side.
fn short(x: f64) -> String {
    match x {
        x if x >= 1e6 => format!("{}M", digits(x / 1e6)),
        x if x >= 1e3 => format!("{}k", digits(x / 1e3)),
        x => digits(x),
    }
}
