//! Budgets against those of an earlier commit: what is allowed now that was not,
//! and has no new reason beside it.

use std::collections::BTreeMap;

use crate::budgets::{Budget, Budgets, CaseBudget, Twin};

/// A line for each budget that `after` has loosened without a new reason.
///
/// Loosened is a ceiling that rose, a floor that fell, a spread that grew, what a
/// twin must violate that became less, and whatever is there no more. The reason
/// stands beside it, as `loosened`, and for what is gone in `[gone]`, under
/// `"case"` or `"case.metric"`. It has to differ from that of `before`: an old
/// reason explains an old change.
#[must_use]
pub fn loosened(before: &Budgets, after: &Budgets) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, old) in &before.cases {
        match after.cases.get(name) {
            Some(new) => compare(name, old, new, |key| is_new(before, after, key), &mut lines),
            None if is_new(before, after, name) => (),
            None => lines.push(gone(name)),
        }
    }
    lines
}

fn compare(
    name: &str,
    old: &CaseBudget,
    new: &CaseBudget,
    explained: impl Fn(&str) -> bool,
    lines: &mut Vec<String>,
) {
    let mut missing = |key: String| {
        if !explained(&key) {
            lines.push(gone(&key));
        }
    };
    let metrics = old.metrics.keys().filter(|metric| !new.metrics.contains_key(*metric));
    metrics.for_each(|metric| missing(format!("{name}.{metric}")));
    if old.twin.is_some() && new.twin.is_none() {
        missing(format!("{name}.twin"));
    }
    if let (Some(old), Some(new)) = (&old.twin, &new.twin)
        && !renewed(old.loosened.as_deref(), new.loosened.as_deref())
    {
        lines.extend(twin(old, new).map(|what| unexplained(&format!("{name}.twin"), &what)));
    }
    for (metric, old) in &old.metrics {
        if let Some(new) = new.metrics.get(metric)
            && !renewed(old.loosened.as_deref(), new.loosened.as_deref())
        {
            let found = metric_changes(old, new);
            lines.extend(found.map(|what| unexplained(&format!("{name}.{metric}"), &what)));
        }
    }
}

fn metric_changes(old: &Budget, new: &Budget) -> impl Iterator<Item = String> {
    let changed = |what: &str, from: String, to: String| format!("{what} {from} became {to}");
    let number = |bound: Option<f64>| bound.map_or_else(|| "none".to_owned(), |b| b.to_string());
    let unit = (old.unit != new.unit)
        .then(|| changed("unit", format!("{:?}", old.unit), format!("{:?}", new.unit)));
    let ceiling = (new.ceiling > old.ceiling)
        .then(|| changed("ceiling", old.ceiling.to_string(), new.ceiling.to_string()));
    let floor = old.floor.filter(|old| new.floor.is_none_or(|new| new < *old));
    let floor = floor.map(|_| changed("floor", number(old.floor), number(new.floor)));
    let spread = old.spread.filter(|old| new.spread.is_none_or(|new| new > *old));
    let spread = spread.map(|_| changed("spread", number(old.spread), number(new.spread)));
    [unit, ceiling, floor, spread].into_iter().flatten()
}

fn twin(old: &Twin, new: &Twin) -> impl Iterator<Item = String> {
    old.must_violate.iter().filter_map(|(metric, was)| match new.must_violate.get(metric) {
        Some(now) if now >= was => None,
        Some(now) => Some(format!("must_violate {metric} {was} became {now}")),
        None => Some(format!("must_violate {metric} {was} became none")),
    })
}

/// Whether `[gone]` has a reason for `key` that it did not have before.
fn is_new(before: &Budgets, after: &Budgets, key: &str) -> bool {
    let reason = |gone: &BTreeMap<String, String>| gone.get(key).cloned();
    renewed(reason(&before.gone).as_deref(), reason(&after.gone).as_deref())
}

fn renewed(old: Option<&str>, new: Option<&str>) -> bool {
    new.is_some_and(|new| !new.trim().is_empty() && old != Some(new))
}

fn unexplained(key: &str, what: &str) -> String {
    format!("{key}: {what}: say when and why beside it: loosened = \"…\"")
}

fn gone(key: &str) -> String {
    format!("{key} is gone: say when and why: [gone] \"{key}\" = \"…\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"
[upload.twin]
name = "Bytes extractor"
must_violate = { peak_slope = 100, peak = 2 }
[upload.peak_slope]
unit = "B/MiB"
ceiling = 64
loosened = "2026-01: noise"
[upload.peak]
unit = "B"
ceiling = 1024
floor = 512
spread = 0
[list.page]
unit = "B"
ceiling = 1
"#;

    /// What is found where `from` is replaced by `to`.
    fn found(from: &str, to: &str) -> Vec<String> {
        assert!(BEFORE.contains(from), "{from}");
        let parse = |text: &str| Budgets::parse(text).unwrap();
        loosened(&parse(BEFORE), &parse(&BEFORE.replace(from, to)))
    }

    #[test]
    fn what_became_tighter_or_is_new_needs_no_reason() {
        assert_eq!(found("ceiling = 64", "ceiling = 64"), Vec::<String>::new());
        assert_eq!(found("ceiling = 64", "ceiling = 63"), Vec::<String>::new());
        assert_eq!(found("floor = 512", "floor = 513"), Vec::<String>::new());
        assert_eq!(found("peak = 2", "peak = 3, page = 1"), Vec::<String>::new());
        let more = "[list.page]\nunit = \"B\"\nceiling = 1\n[list.rows]";
        assert_eq!(found("[list.page]", more), Vec::<String>::new());
    }

    #[test]
    fn each_way_to_loosen_is_found_without_a_reason_and_passes_with_one() {
        let ways = [
            ("ceiling = 1024", "ceiling = 1025", "upload.peak: ceiling 1024 became 1025"),
            ("floor = 512", "floor = 511", "upload.peak: floor 512 became 511"),
            ("floor = 512\n", "", "upload.peak: floor 512 became none"),
            ("spread = 0", "spread = 1", "upload.peak: spread 0 became 1"),
            ("spread = 0\n", "", "upload.peak: spread 0 became none"),
            (
                "unit = \"B\"\nceiling = 1024",
                "unit = \"count\"\nceiling = 1024",
                "upload.peak: unit",
            ),
        ];
        for (from, to, told) in ways {
            let lines = found(from, to);
            assert!(lines.len() == 1 && lines[0].starts_with(told), "{lines:?}, not {told}");
            // Beside the floor or the ceiling, whichever is left.
            let explained = BEFORE
                .replace(from, to)
                .replace("[upload.peak]\n", "[upload.peak]\nloosened = \"2026-02: why\"\n");
            let budgets = [BEFORE, &explained].map(|text| Budgets::parse(text).unwrap());
            assert_eq!(loosened(&budgets[0], &budgets[1]), Vec::<String>::new());
        }
    }

    #[test]
    fn a_twin_that_must_violate_less_is_found() {
        assert_eq!(found("peak = 2", "peak = 1").len(), 1);
        assert_eq!(found(", peak = 2", "").len(), 1);
        let explained = "peak = 1 }\nloosened = \"2026-02: why\"";
        assert_eq!(found("peak = 2 }", explained), Vec::<String>::new());
    }

    #[test]
    fn an_old_reason_and_an_empty_one_explain_nothing() {
        assert_eq!(found("ceiling = 64", "ceiling = 65").len(), 1);
        let empty = "ceiling = 1025\nloosened = \" \"";
        assert_eq!(found("ceiling = 1024", empty).len(), 1);
    }

    #[test]
    fn what_vanished_needs_a_reason_under_its_name() {
        let list = "[list.page]\nunit = \"B\"\nceiling = 1\n";
        assert!(found(list, "")[0].starts_with("list is gone"));
        assert_eq!(found(list, "[gone]\nlist = \"2026-02: why\"\n"), Vec::<String>::new());
        assert!(found("[list.page]", "[list.rows]")[0].starts_with("list.page is gone"));
        let explained = "[gone]\n\"list.page\" = \"2026-02: why\"\n[list.rows]";
        assert_eq!(found("[list.page]", explained), Vec::<String>::new());
    }
}
