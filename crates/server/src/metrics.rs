//! `/metrics` on the admin listener: the gauge's figures, as Prometheus reads them.
//!
//! The text format (0.0.4) by hand: a line each for less than ten values, none of which
//! has a label from outside. A library would bring a registry, and its crates.

use std::fmt::Write as _;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use budget::Level;
use budget::gauge::{CRITICAL, HIGH};
use http::header::CONTENT_TYPE;

use crate::gauge::{Reading, Readings};

/// Where Prometheus asks.
pub const PATH: &str = "/metrics";

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The route.
pub fn routes(readings: Readings) -> Router {
    let answer = async move || ([(CONTENT_TYPE, TEXT)], text(&readings.last())).into_response();
    Router::new().route(PATH, get(answer))
}

/// All of them: 2 KiB. What can't be told is left out.
fn text(reading: &Reading) -> String {
    let Reading { figures, limit, level, changes } = *reading;
    let mut text = String::with_capacity(2048);
    let mut add = |name: &str, kind: &str, help: &str, value: Option<u64>| {
        if let Some(value) = value {
            // Writing to a String does not fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
    };
    let is = |least: Level| Some(u64::from(level >= least));
    add("memory_limit_bytes", "gauge", "The limit of this process.", Some(limit));
    add("memory_live_heap_bytes", "gauge", "Allocated and not freed.", figures.live_heap);
    add("process_resident_memory_bytes", "gauge", "Pages in memory.", figures.resident);
    let charged = figures.group.map(|group| group.bytes);
    let help = "What the control group is charged beside page cache.";
    add("memory_group_charged_bytes", "gauge", help, charged);
    let group_limit = figures.group.map(|group| group.limit);
    add("memory_group_limit_bytes", "gauge", "The limit of the control group.", group_limit);
    let help = "The figure nearest to its limit, in percent of it.";
    add("overload_memory_pressure", "gauge", help, Some(figures.percent(limit)));
    let help = format!(
        "1 from {} % until below {}: no new uploads, exports, encoders, and no keep-alive.",
        HIGH.begins, HIGH.ends
    );
    add("overload_high_active", "gauge", &help, is(Level::High));
    let help = format!(
        "1 from {} % until below {}: only probes are answered.",
        CRITICAL.begins, CRITICAL.ends
    );
    add("overload_critical_active", "gauge", &help, is(Level::Critical));
    add("overload_changes_total", "counter", "Changes of level.", Some(changes));
    text
}

#[cfg(test)]
mod tests {
    use budget::Figures;
    use budget::gauge::Charge;

    use super::*;

    #[test]
    fn each_value_has_its_type_and_what_is_not_known_is_not_there() {
        let group = Some(Charge { bytes: 3, limit: 40 });
        let figures = Figures { live_heap: Some(1), resident: Some(90), group };
        let reading = Reading { figures, limit: 100, level: Level::High, changes: 7 };
        let text = text(&reading);
        assert!(text.len() < 2048, "{}", text.len());
        let (comments, values): (Vec<_>, Vec<_>) =
            text.lines().partition(|line| line.starts_with("# "));
        assert_eq!(
            values,
            [
                "memory_limit_bytes 100",
                "memory_live_heap_bytes 1",
                "process_resident_memory_bytes 90",
                "memory_group_charged_bytes 3",
                "memory_group_limit_bytes 40",
                "overload_memory_pressure 90",
                "overload_high_active 1",
                "overload_critical_active 0",
                "overload_changes_total 7",
            ]
        );
        for (pair, value) in comments.chunks(2).zip(values) {
            let name = value.split(' ').next().unwrap();
            assert!(pair[0].starts_with(&format!("# HELP {name} ")), "{pair:?}");
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            assert_eq!(pair[1], format!("# TYPE {name} {kind}"));
        }
        let nothing = super::text(&Reading { figures: Figures::default(), ..reading });
        assert!(!nothing.contains("live_heap") && !nothing.contains("resident"), "{nothing}");
    }
}
