//! A log line: an event and its span as one JSON object, written straight through.
//!
//! **What goes wrong**: tracing-subscriber's own JSON formatter collects a span's
//! fields in a map, writes them to a text, and parses that text again for each
//! event: 19 of the 62 allocations of a cached record were the log's. JSON that is
//! written to a `fmt::Write` is checked and copied quote by quote.
//!
//! **The pattern**: a span's fields are kept as JSON members, and copied as they
//! are. Members are written as bytes, and checked once. The lines say what that
//! formatter's do.

use std::cell::Cell;
use std::fmt::{self, Debug};

use serde::{Serialize, Serializer};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::telemetry::LINE;

thread_local! {
    // A buffer of LINE, between lines. A longer line's goes when it is written.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Formats fields as members of an object, each with a comma before it.
#[derive(Clone, Copy, Debug)]
pub struct Members;

/// Formats an event as one line of JSON.
#[derive(Clone, Copy, Debug)]
pub struct LogLine;

impl<'writer> FormatFields<'writer> for Members {
    fn format_fields<R: RecordFields>(&self, mut out: Writer<'writer>, fields: R) -> fmt::Result {
        let mut written = Written::new();
        fields.record(&mut written);
        out.write_str(written.text()?)
    }
}

impl<S> FormatEvent<S, Members> for LogLine
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Members>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // First, as `Debug` may panic: half a line in `out` would be the next one's begin.
        let mut written = Written::new();
        written.member("level", event.metadata().level().as_str());
        event.record(&mut written);
        written.member("target", event.metadata().target());
        let parent = event.parent().and_then(|id| context.span(id));
        if let Some(span) = parent.or_else(|| context.lookup_current()) {
            let extensions = span.extensions();
            let members = extensions.get::<FormattedFields<Members>>();
            written.raw(",\"span\":{\"name\":");
            written.json(span.name());
            written.raw(members.map_or("", |members| &members.fields));
            written.raw("}");
        }
        let rest = written.text()?;
        out.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut out)?;
        writeln!(out, "\"{rest}}}")
    }
}

/// Members as they come, each with a comma before it.
struct Written {
    bytes: Vec<u8>,
    result: fmt::Result,
}

impl Written {
    fn new() -> Self {
        // Empty where a line is written while another is, or a thread ends.
        let mut bytes = SPARE.try_with(Cell::take).unwrap_or_default();
        bytes.clear();
        bytes.reserve(LINE);
        Self { bytes, result: Ok(()) }
    }

    fn text(&self) -> Result<&str, fmt::Error> {
        self.result?;
        str::from_utf8(&self.bytes).map_err(|_| fmt::Error)
    }

    fn raw(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn json(&mut self, value: impl Serialize) {
        if self.result.is_ok() {
            self.result = serde_json::to_writer(&mut self.bytes, &value).map_err(|_| fmt::Error);
        }
    }

    fn member(&mut self, name: &str, value: impl Serialize) {
        self.raw(",");
        self.json(name);
        self.raw(":");
        self.json(value);
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if self.bytes.capacity() == LINE {
            let _ = SPARE.try_with(|spare| spare.set(std::mem::take(&mut self.bytes)));
        }
    }
}

impl Visit for Written {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field.name(), Shown(value));
    }
}

/// A value's `Debug`, as a JSON string.
struct Shown<'a>(&'a dyn Debug);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:?}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::fmt::{MakeWriter, SubscriberBuilder};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    impl Lines {
        fn parsed(&self) -> Vec<Value> {
            let lines = self.0.lock().unwrap();
            let lines = str::from_utf8(&lines).unwrap().lines();
            let mut lines: Vec<Value> =
                lines.map(|line| serde_json::from_str(line).unwrap()).collect();
            for line in &mut lines {
                let at = line.as_object_mut().unwrap().remove("timestamp").unwrap();
                assert!(at.as_str().is_some_and(|at| at.ends_with('Z')), "{at}");
            }
            lines
        }
    }

    fn events() {
        tracing::info!("no span, \"quotes\", a line\nbreak, \u{1b}[31m and 文");
        let span = tracing::error_span!(
            "request",
            method = "GET",
            path = "/\\\"\u{7}文",
            id = Some("x"),
            late = tracing::field::Empty
        );
        span.in_scope(|| tracing::warn!(count = 1, below = -1, share = 0.5, is = true, "within"));
        span.record("late", 7);
        tracing::error!(parent: &span, error = %io::Error::other("a \"cause\""), list = ?[1, 2]);
        tracing::info!(target: "else\"where", nothing = None::<u8>, large = u64::MAX);
    }

    #[test]
    fn a_line_says_what_tracing_subscribers_own_would() {
        let (ours, theirs) = (Lines::default(), Lines::default());
        let builder = || SubscriberBuilder::default();
        let log = builder().fmt_fields(Members).event_format(LogLine).with_writer(ours.clone());
        tracing::subscriber::with_default(log.finish(), events);
        let log = builder().json().flatten_event(true).with_span_list(false);
        tracing::subscriber::with_default(log.with_writer(theirs.clone()).finish(), events);
        assert_eq!(ours.parsed(), theirs.parsed());
        assert_eq!(ours.parsed().len(), 4);
    }

    #[test]
    fn no_more_than_a_line_is_kept() {
        for length in [1, LINE + 1] {
            let mut written = Written::new();
            written.member("name", "x".repeat(length));
            drop(written);
            assert!([0, LINE].contains(&SPARE.take().capacity()), "{length}");
        }
    }

    struct Panics;

    impl Debug for Panics {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("on purpose")
        }
    }

    #[test]
    fn a_value_that_panics_spoils_no_other_line() {
        let lines = Lines::default();
        let log = SubscriberBuilder::default().fmt_fields(Members).event_format(LogLine);
        tracing::subscriber::with_default(log.with_writer(lines.clone()).finish(), || {
            let line = || tracing::info!(value = ?Panics, "one");
            std::panic::catch_unwind(line).unwrap_err();
            tracing::info!("another");
        });
        assert_eq!(lines.parsed().len(), 1);
        assert_eq!(lines.parsed()[0]["message"], "another");
    }
}
