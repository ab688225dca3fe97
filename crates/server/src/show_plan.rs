//! The load line, told: `server plan`, for people or programs, in this limit or another;
//! and the same in the log.

use std::collections::BTreeMap;
use std::io::Write;

use budget::{Limit, Plan, PlanReport, Source};
use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::config::Config;
use crate::plan::LoadLine;

/// What `server plan` is asked.
#[derive(Args, Clone, Copy, Debug)]
pub struct Flags {
    /// Plan for this limit, whatever there is here: as for a container that is to come
    #[arg(long, value_name = "SIZE")]
    limit: Option<ByteSize>,

    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A line a term, with a bar for its share of the limit
    Table,
    /// One object; sizes in bytes
    Json,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    plan: PlanReport,
    /// The settings that were derived, with what they came to.
    derived: BTreeMap<&'a str, usize>,
}

/// Prints the plan, whether it fits or not.
///
/// # Errors
/// Settings that contradict each other; a plan that does not fit.
pub fn run(config: &Config, flags: Flags, out: &mut impl Write) -> anyhow::Result<()> {
    config.validate()?;
    let tried = flags.limit.map(|size| Limit { bytes: size.as_u64(), source: Source::Tried });
    let line = tried.map_or_else(|| LoadLine::of(config), |limit| LoadLine::fit(config, limit));
    let derived = line.counts.derived(config);
    // Who reads only its beginning has closed the pipe.
    let _ = match flags.format {
        Format::Table => {
            let derived = derived.iter().map(|(setting, count)| format!("{setting}={count}"));
            let derived = derived.collect::<Vec<_>>().join(" ");
            writeln!(out, "{}\nderived from the limit: {derived}", line.plan)
        }
        Format::Json => {
            let shown = Shown { plan: line.plan.report(), derived: derived.into_iter().collect() };
            serde_json::to_writer_pretty(&mut *out, &shown)
                .map_err(std::io::Error::from)
                .and_then(|()| writeln!(out))
        }
    };
    Ok(line.plan.check()?)
}

/// Says the same in the log, as one event.
pub fn tell(plan: &Plan) {
    tracing::info!(
        ceiling = plan.ceiling(),
        slack = plan.slack(),
        limit = plan.limit.bytes,
        limit_by = %plan.limit.source,
        terms = plan.compact(),
        "the load line, in bytes"
    );
    let detected = budget::limit::detect();
    if plan.limit.is_beyond(detected) {
        tracing::warn!(
            configured = plan.limit.bytes,
            control_group = detected.bytes,
            "MEMORY_LIMIT is above the limit that the kernel enforces"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::config::tests::parse;
    use crate::log_line::{LogLine, Members};
    use crate::telemetry;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_log_has_all_of_it_in_one_line_of_usual_length() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().fmt_fields(Members).event_format(LogLine);
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        // All counts at their most.
        let limit = Limit { bytes: 1 << 40, source: Source::Machine };
        let plan = LoadLine::fit(&parse(&[]).unwrap(), limit).plan;
        tracing::subscriber::with_default(subscriber, || tell(&plan));
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(text.len() <= telemetry::LINE, "{text}");
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["ceiling"], &line["slack"]),
            (&plan.ceiling().into(), &plan.slack().into())
        );
        assert_eq!(line["limit"], 1_u64 << 40);
        assert_eq!(line["limit_by"], "a quarter of the machine's memory");
        let terms: Vec<&str> = line["terms"].as_str().unwrap().split("; ").collect();
        assert_eq!(terms.len(), plan.terms.len());
        assert!(terms.contains(&"upload buffers 1000x65536"), "{terms:?}");
    }

    fn shown(mebibytes: u64, format: Format, arguments: &[&str]) -> (String, anyhow::Result<()>) {
        let flags = Flags { limit: Some(ByteSize::mib(mebibytes)), format };
        let mut out = Vec::new();
        // The limit that is tried counts.
        let arguments = [&["--memory-limit=1MiB"], arguments].concat();
        let result = run(&parse(&arguments).unwrap(), flags, &mut out);
        (String::from_utf8(out).unwrap(), result)
    }

    #[test]
    fn a_limit_is_tried_on_in_both_forms() {
        let set = ["--max-connections=159"];
        let (table, result) = shown(64, Format::Table, &set);
        result.unwrap();
        assert!(table.contains("64.00 MiB, by --limit\n"), "{table}");
        assert!(table.contains(" --max-requests=") && !table.contains("--max-connections"));
        let (json, result) = shown(64, Format::Json, &set);
        result.unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["limit"], &json["fits"]), (&(64 << 20).into(), &true.into()));
        let terms = json["terms"].as_array().unwrap();
        assert!(terms.iter().any(|term| term["name"] == "uploads" && term["count"] == 16));
        assert_eq!(json["derived"]["--max-uploads"], 16);
        assert!(json["derived"].get("--max-connections").is_none(), "{json}");
    }

    #[test]
    fn what_does_not_fit_is_shown_and_refused_with_what_to_lower() {
        for (format, told) in [(Format::Table, "limit "), (Format::Json, "\"fits\": false")] {
            let (shown, result) = shown(16, format, &["--max-uploads=500"]);
            assert!(shown.contains(told), "{shown}");
            let error = result.unwrap_err().to_string();
            assert!(error.contains("lower one of: --max-uploads (500 uploads take"), "{error}");
            assert!(error.contains("the limit is 16.00 MiB, by --limit"), "{error}");
        }
    }
}
