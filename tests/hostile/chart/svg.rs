//! The chart as SVG, readable at 800 pixels, in the colours of its reader's theme.

use std::fmt::Write as _;

use budget::Mib;

use super::Chart;
use crate::watch::signed;

const WIDTH: f64 = 800.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = WIDTH - 12.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 376.0;

/// The gauge begins to shed there, in percent of the limit.
const GAUGE: u64 = 92;

/// Where the legend begins, and what a line of it takes.
const LEGEND: f64 = BOTTOM + 56.0;
const LINE: f64 = 22.0;

/// The colours of both themes. Terms of the process have one hue and those of the kernel
/// another; neighbours differ in lightness.
pub(super) const STYLE: &str = "\
:root{--paper:#fff;--ink:#1b1f24;--faint:#59636e;--grid:#d1d9e0;--p0:#9ecbff;--p1:#c8e1ff;\
--k0:#ffd08a;--k1:#ffe5bd;--measured:#1b1f24;--live:#8250df;--line:#1a7f37;--gauge:#9a6700;\
--limit:#cf222e;--over:#cf222e}
@media(prefers-color-scheme:dark){:root{--paper:#0d1117;--ink:#f0f6fc;--faint:#9198a1;\
--grid:#3d444d;--p0:#1f4f8f;--p1:#163a6b;--k0:#7a5212;--k1:#583a0b;--measured:#f0f6fc;\
--live:#d2a8ff;--line:#3fb950;--gauge:#e3b341;--limit:#ff7b72;--over:#ff7b72}}
svg text{font:14px system-ui,sans-serif;fill:var(--ink)}
svg .label{stroke:var(--paper);stroke-width:4;paint-order:stroke;font-weight:600}
svg .faint{fill:var(--faint)}svg .grid{stroke:var(--grid)}
svg .p0{fill:var(--p0)}svg .p1{fill:var(--p1)}svg .k0{fill:var(--k0)}svg .k1{fill:var(--k1)}
svg .band{stroke:var(--paper);stroke-width:.75}
svg .curve{fill:none;stroke-width:2.5;stroke-linejoin:round}
svg .measured{stroke:var(--measured)}svg .live{stroke:var(--live);stroke-dasharray:7 4}
svg .rule{fill:none;stroke-width:2}svg .ceiling{stroke:var(--line)}
svg .gauge{stroke:var(--gauge);stroke-dasharray:2 4}svg .limit{stroke:var(--limit);\
stroke-dasharray:10 4}
svg .free{fill:url(#free)}svg .over{fill:var(--over);fill-opacity:.55}
svg .hatch{stroke:var(--ink);stroke-opacity:.3;stroke-width:1.2}
";

/// What XML reads otherwise.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Chart<'_> {
    /// One file that needs nothing else.
    pub fn svg(&self) -> String {
        let body = self.body();
        let height = LEGEND + LINE * self.legend_lines();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" role=\"img\" aria-labelledby=\"t d\">\n\
             <title id=\"t\">Memory that the terms in use explain, against memory measured, under \
             a hostile load</title>\n<desc id=\"d\">{}</desc>\n<style>{STYLE}</style>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"var(--paper)\"/>\n{body}</svg>\n",
            escaped(&self.sentence())
        )
    }

    /// What is in the `svg` element, without its style.
    fn body(&self) -> String {
        let mut body = "<defs><pattern id=\"free\" width=\"7\" height=\"7\" \
             patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
             <path class=\"hatch\" d=\"M0 0V7\"/></pattern></defs>\n"
            .to_owned();
        self.axes(&mut body);
        let (edges, measured) = (self.edges(), self.measured());
        // From the highest: each covers what is below its edge, and only its own part of
        // that is left to be seen.
        for (index, (band, edge)) in self.bands.iter().zip(&edges).enumerate().rev() {
            let name = escaped(&band.names.join(", "));
            let class = self.class(index);
            let area = self.area(edge);
            let _ = writeln!(
                body,
                "<path class=\"band {class}\" d=\"{area}\"><title>{name}</title></path>"
            );
        }
        if let Some(top) = edges.last() {
            let lower: Vec<_> = top.iter().zip(&measured).map(|(a, b)| *a.min(b)).collect();
            let _ = writeln!(body, "<path class=\"free\" d=\"{}\"/>", self.between(top, &lower));
            let _ =
                writeln!(body, "<path class=\"over\" d=\"{}\"/>", self.between(&measured, &lower));
        }
        if let Some(label) = self.residual_label(edges.last(), &measured) {
            body += &label;
        }
        for (class, bytes) in self.rules() {
            let y = self.y(bytes);
            let _ = writeln!(body, "<path class=\"rule {class}\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>");
        }
        for (class, curve) in [("live", self.live()), ("measured", measured)] {
            let _ =
                writeln!(body, "<path class=\"curve {class}\" d=\"M{}\"/>", self.points(&curve));
        }
        self.legend(&mut body);
        body
    }

    /// In the midst of the run, where there is room for a word between the two.
    fn residual_label(&self, top: Option<&Vec<u64>>, measured: &[u64]) -> Option<String> {
        let middle = self.columns.len() / 2;
        let [top, measured] = [*top?.get(middle)?, *measured.get(middle)?].map(|at| self.y(at));
        if (top - measured).abs() < LINE {
            return None;
        }
        let x = self.x(self.columns[middle].at.as_secs_f64());
        let y = f64::midpoint(top, measured) + 5.0;
        Some(format!(
            "<text class=\"label\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">residual</text>\n"
        ))
    }

    fn axes(&self, body: &mut String) {
        for eighth in 0..=8 {
            let bytes = self.limit / 8 * eighth;
            let y = self.y(bytes);
            let _ = write!(
                body,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>\
                 <text class=\"faint\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{} MiB</text>",
                LEFT - 6.0,
                y + 5.0,
                bytes >> 20
            );
        }
        let seconds = self.seconds();
        let step = [1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 600.0];
        let step = step.into_iter().find(|step| seconds / step <= 10.0).unwrap_or(3600.0);
        let mut at = 0.0;
        while at <= seconds {
            let x = self.x(at);
            let y = BOTTOM + 20.0;
            let _ = write!(
                body,
                "<text class=\"faint\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{at} s</text>"
            );
            at += step;
        }
        body.push('\n');
    }

    /// What is held to, from below.
    fn rules(&self) -> [(&'static str, u64); 3] {
        let gauge = self.limit / 100 * GAUGE;
        [("ceiling", self.ceiling), ("gauge", gauge), ("limit", self.limit)]
    }

    /// Bands from the highest to the lowest, as they lie, in the first column; lines in
    /// the second.
    fn legend(&self, body: &mut String) {
        let most = |band: &super::Band| {
            self.columns.iter().map(|sample| band.at(sample)).max().unwrap_or(0)
        };
        for (row, (index, band)) in self.bands.iter().enumerate().rev().enumerate() {
            let (y, class) = (LEGEND + LINE * row as f64, self.class(index));
            let (name, most) = (escaped(&band.name()), Mib(most(band)));
            let _ = writeln!(
                body,
                "<path class=\"band {class}\" d=\"M{LEFT} {:.1}h28v14h-28Z\"/>\
                 <text x=\"{}\" y=\"{y:.1}\">{name}: up to {most}</text>",
                y - 12.0,
                LEFT + 38.0
            );
        }
        let peak = Mib(self.measured().into_iter().max().unwrap_or(0));
        let [(_, ceiling), (_, gauge), (_, limit)] = self.rules().map(|(name, at)| (name, Mib(at)));
        let x = WIDTH / 2.0 - 40.0;
        let rows = [
            ("limit", format!("limit: {limit}")),
            ("gauge", format!("the gauge sheds from here: {gauge}")),
            ("ceiling", format!("load line, all terms at their counts: {ceiling}")),
            ("measured", format!("measured, resident and sockets: up to {peak}")),
            (
                "live",
                format!("live heap: up to {}", Mib(self.live().into_iter().max().unwrap_or(0))),
            ),
            ("free", "residual below 0: in use, and not taken".to_owned()),
            ("over", "residual above 0: taken, and not explained".to_owned()),
            ("", format!("residual of the process at worst {}", signed(self.residual))),
            ("", format!("slack {}", Mib(self.slack))),
        ];
        for (row, (class, text)) in rows.into_iter().enumerate() {
            let y = LEGEND + LINE * row as f64;
            let mark = match class {
                "free" | "over" => {
                    format!(r#"<path class="{class}" d="M{x} {:.1}h28v14h-28Z"/>"#, y - 12.0)
                }
                "measured" | "live" => {
                    format!(r#"<path class="curve {class}" d="M{x} {:.1}h28"/>"#, y - 5.0)
                }
                "" => String::new(),
                _ => format!(r#"<path class="rule {class}" d="M{x} {:.1}h28"/>"#, y - 5.0),
            };
            let _ = writeln!(
                body,
                "{mark}<text x=\"{}\" y=\"{y:.1}\">{}</text>",
                x + 38.0,
                escaped(&text)
            );
        }
    }

    fn legend_lines(&self) -> f64 {
        self.bands.len().max(9) as f64
    }

    /// The same for who can't see it.
    pub(super) fn sentence(&self) -> String {
        let Some(worst) = self.worst() else { return "Nothing was measured.".to_owned() };
        let memory = &worst.memory;
        format!(
            "{:.0} seconds. Where most was measured, resident memory was {} and sockets {}, and \
             the terms in use had {} and {}. The residual of the process was at worst {}, the \
             slack is {}; the load line is at {}, the limit at {}.",
            self.seconds(),
            Mib(worst.resident),
            Mib(worst.sockets),
            Mib(memory.in_use(false)),
            Mib(memory.in_use(true)),
            signed(self.residual),
            Mib(self.slack),
            Mib(self.ceiling),
            Mib(self.limit),
        )
    }

    fn class(&self, index: usize) -> &'static str {
        match (self.bands[index].kernel, index % 2) {
            (false, 0) => "p0",
            (false, _) => "p1",
            (true, 0) => "k0",
            (true, _) => "k1",
        }
    }

    fn seconds(&self) -> f64 {
        self.columns.last().map_or(1.0, |last| last.at.as_secs_f64()).max(0.1)
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + seconds / self.seconds() * (RIGHT - LEFT)
    }

    fn y(&self, bytes: u64) -> f64 {
        // A little more than the limit, whose line is to be seen.
        BOTTOM - bytes as f64 / (self.limit as f64 * 1.02) * (BOTTOM - TOP)
    }

    fn points(&self, curve: &[u64]) -> String {
        let points = self.columns.iter().zip(curve).map(|(sample, bytes)| {
            format!("{:.1} {:.2}", self.x(sample.at.as_secs_f64()), self.y(*bytes))
        });
        points.collect::<Vec<_>>().join("L")
    }

    /// Down to zero.
    fn area(&self, edge: &[u64]) -> String {
        let first = self.columns.first().map_or(LEFT, |sample| self.x(sample.at.as_secs_f64()));
        format!("M{}V{BOTTOM}H{first:.1}Z", self.points(edge))
    }

    fn between(&self, upper: &[u64], lower: &[u64]) -> String {
        let lower = self.points(lower);
        let back: Vec<_> = lower.split('L').rev().collect();
        format!("M{}L{}Z", self.points(upper), back.join("L"))
    }
}
