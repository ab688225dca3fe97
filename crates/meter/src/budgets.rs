//! The committed budgets: a TOML file, grouped by case.
//!
//! ```toml
//! [upload.twin]
//! name = "Bytes extractor, then fs::write"
//! must_violate = { peak_slope = 100 } # metric: by so many times its ceiling
//!
//! [upload.peak_slope]
//! unit = "B/MiB"
//! ceiling = 64   # a person's
//! recorded = 0   # the tool's
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;
use toml_edit::{DocumentMut, Item, TomlError, Value};

use crate::figure::Unit;

/// All budgets, by case.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Budgets {
    /// Budgets that were removed (`case`, or `case.metric`), each with its reason:
    /// see [`crate::loosened()`].
    #[serde(default)]
    pub gone: BTreeMap<String, String>,
    /// The cases that the file knows.
    #[serde(flatten)]
    pub cases: BTreeMap<String, CaseBudget>,
}

/// The budgets of one case.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct CaseBudget {
    /// The control. A case without one is not judged as holding.
    pub twin: Option<Twin>,
    /// What each metric is held to.
    #[serde(flatten)]
    pub metrics: BTreeMap<String, Budget>,
}

/// What the naive twin stands for, and what it must break.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Twin {
    /// The habit that it stands for.
    pub name: String,
    /// Metrics that it must break, each with a margin: its figure must be at
    /// least so many times the ceiling.
    pub must_violate: BTreeMap<String, f64>,
    /// Since when it must violate less than before, and why.
    pub loosened: Option<String>,
}

/// What one metric is held to. All figures are in `unit`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// What is counted.
    pub unit: Unit,
    /// The worst repetition may be this, and no more. Owned by a person: the
    /// tool never writes it.
    pub ceiling: f64,
    /// The least repetition must reach this: for a formula that would be as
    /// wrong if it were far too large.
    pub floor: Option<f64>,
    /// How far repetitions may be apart; 0 asks for the same figure each time.
    pub spread: Option<f64>,
    /// The worst repetition when [`record`] was last called: information, not
    /// a limit.
    pub recorded: Option<f64>,
    /// Since when the budget is looser than before, and why.
    pub loosened: Option<String>,
}

impl Budgets {
    /// Reads the file's text.
    ///
    /// # Errors
    /// Where it is no TOML, or not of this shape: the message has the line.
    pub fn parse(text: &str) -> Result<Self, toml_edit::de::Error> {
        toml_edit::de::from_str(text)
    }

    /// What `metric` of `case` is held to, if the file says.
    #[must_use]
    pub fn get(&self, case: &str, metric: &str) -> Option<&Budget> {
        self.cases.get(case)?.metrics.get(metric)
    }
}

/// The file's text with `figures` (case, metric, figure) as what was last
/// recorded. Comments, order and ceilings stay as they are; a metric that the
/// file does not have is left out, since it has no ceiling either.
///
/// # Errors
/// Where the text is no TOML.
pub fn record<'a>(
    text: &str,
    figures: impl IntoIterator<Item = (&'a str, &'a str, f64)>,
) -> Result<String, TomlError> {
    let mut document: DocumentMut = text.parse()?;
    for (case, metric, figure) in figures {
        let table = document.get_mut(case).and_then(|case| case.get_mut(metric));
        if let Some(table) = table.and_then(Item::as_table_like_mut) {
            table.insert("recorded", Item::Value(written(figure)));
        }
    }
    Ok(document.to_string())
}

/// The file's text with lower ceilings: where one leaves more than `headroom`
/// percent above its figure, it leaves so much. None rises. A share keeps its
/// ceiling, which is the formula, and so does what measured nothing.
///
/// # Errors
/// Where the text is no TOML, or not of this shape.
pub fn tighten<'a>(
    text: &str,
    figures: impl IntoIterator<Item = (&'a str, &'a str, f64)>,
    headroom: f64,
) -> Result<String, toml_edit::de::Error> {
    let budgets = Budgets::parse(text)?;
    let mut document: DocumentMut = text.parse()?;
    for (case, metric, figure) in figures {
        let Some(budget) = budgets.get(case, metric) else { continue };
        let ceiling = rounded_up(figure / (1.0 - headroom / 100.0));
        if budget.unit == Unit::Percent || figure <= 0.0 || ceiling >= budget.ceiling {
            continue;
        }
        let item = document.get_mut(case).and_then(|case| case.get_mut(metric));
        if let Some(value) = item.and_then(|item| item.get_mut("ceiling")?.as_value_mut()) {
            let decor = value.decor().clone(); // the comment behind it
            *value = written(ceiling);
            *value.decor_mut() = decor;
        }
    }
    Ok(document.to_string())
}

/// To the next KiB, or below that to the next whole number; a rate below 1 stays.
fn rounded_up(ceiling: f64) -> f64 {
    match ceiling {
        small if small < 1.0 => small,
        small if small < 1024.0 => small.ceil(),
        large => (large / 1024.0).ceil() * 1024.0,
    }
}

/// At most two decimals, and none where they say nothing.
fn written(figure: f64) -> Value {
    let figure = (figure * 100.0).round() / 100.0;
    figure.to_string().parse().unwrap_or_else(|_| figure.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
# Why uploads cost what they cost.
[upload.twin]
name = "Bytes extractor"
must_violate = { peak_slope = 100 }

[upload.peak_slope]
unit = "B/MiB"
ceiling = 64 # noise

[upload.unit]
unit = "%"
ceiling = 100
floor = 50
recorded = 80
"#;

    #[test]
    fn budgets_are_read_by_case_and_metric() {
        let budgets = Budgets::parse(TEXT).unwrap();
        let unit = budgets.get("upload", "unit").unwrap();
        assert_eq!((unit.unit, unit.ceiling, unit.floor), (Unit::Percent, 100.0, Some(50.0)));
        assert_eq!(
            budgets.cases["upload"].twin.as_ref().unwrap().must_violate["peak_slope"],
            100.0
        );
        assert!(budgets.get("upload", "twin").is_none());
    }

    #[test]
    fn a_misspelt_field_is_an_error() {
        assert!(Budgets::parse(&TEXT.replace("floor", "flor")).is_err());
        assert!(Budgets::parse(&TEXT.replace("ceiling = 64", "")).is_err());
    }

    #[test]
    fn tightening_lowers_what_leaves_too_much_and_nothing_else() {
        let lower = tighten(TEXT, [("upload", "peak_slope", 40.2)], 10.0).unwrap();
        assert_eq!(lower, TEXT.replace("ceiling = 64 # noise", "ceiling = 45 # noise"));
        for (metric, figure) in [("peak_slope", 60.0), ("peak_slope", 0.0), ("unit", 20.0)] {
            assert_eq!(tighten(TEXT, [("upload", metric, figure)], 10.0).unwrap(), TEXT);
        }
    }

    #[test]
    fn recording_changes_figures_and_nothing_else() {
        let figures = [("upload", "unit", 81.239), ("upload", "unknown", 1.0), ("other", "x", 1.0)];
        let recorded = record(TEXT, figures).unwrap();
        assert_eq!(recorded, TEXT.replace("recorded = 80", "recorded = 81.24"));
        let first = record(TEXT, [("upload", "peak_slope", 0.0)]).unwrap();
        assert!(first.contains("ceiling = 64 # noise\nrecorded = 0\n"), "{first}");
    }
}
