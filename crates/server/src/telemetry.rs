//! What the service says: one line an event, on stderr.
//!
//! **What goes wrong**: a line is written by the thread that says it. Where nobody
//! reads stderr's pipe, or its disk hangs, every worker stands still; where it can't
//! be written at all, the complaint about that panics. A queue in front of a thread
//! of its own is 128,000 *lines* by default.
//!
//! **The pattern**: a queue of [`LINES`], in front of a thread. Full means that a
//! line is dropped, and counted. What comes while the thread rests is written together:
//! to wake it for each line costs the thread that logs more than the line does.
//!
//! **The bound**: [`cost`]. Held by the memory test `log`.

use std::io::{self, IsTerminal, Write, stderr};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::log_line::{LogLine, Members};

/// Lines that wait to be written: those of 12 ms at full load.
pub const LINES: usize = 512;

/// The longest line that is counted with, in bytes: what clients can put into one is
/// cut (path, method), and errors are short. Usual ones have 300.
pub const LINE: usize = 1024;

/// What is written at once, in bytes: whole lines, as much as a pipe takes in one piece
/// (`PIPE_BUF`). A longer line is written by itself.
const TOGETHER: usize = 4 * 1024;

/// How long the thread rests when it has written all that there was. At full load 40
/// lines come meanwhile: a twelfth of the queue.
const REST: Duration = Duration::from_millis(1);

/// The heap that lines on their way may hold, in bytes.
#[must_use]
pub const fn cost() -> usize {
    // The queue has a place for each, of a vector and a stamp; some are being written.
    LINES * (LINE + 48) + TOGETHER
}

/// Keeps the log's thread. Dropping it waits, a second at most, until what was said
/// is written; and tells how many lines were not.
#[derive(Debug)]
pub struct Log {
    dropped: ErrorCounter,
    _guard: WorkerGuard,
}

impl Drop for Log {
    fn drop(&mut self) {
        if let lines @ 1.. = self.dropped.dropped_lines() {
            tracing::warn!(lines, "lines of the log were dropped");
        }
    }
}

/// A writer that never waits for `writer`.
pub fn queued(writer: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES)
        .thread_name("log")
        .finish(Resting { writer, lines: Vec::with_capacity(TOGETHER) })
}

/// Writes what there is, then rests. What can't be written is passed over: an error
/// would keep the thread from hearing of the end.
struct Resting<W> {
    writer: W,
    lines: Vec<u8>,
}

impl<W: Write> Resting<W> {
    fn pass_on(&mut self) {
        let _ = self.writer.write_all(&self.lines);
        self.lines.clear();
    }
}

impl<W: Write> Write for Resting<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if line.len() > TOGETHER - self.lines.len() {
            self.pass_on();
        }
        if line.len() > TOGETHER {
            let _ = self.writer.write_all(line);
        } else {
            self.lines.extend_from_slice(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on();
        thread::sleep(REST);
        Ok(())
    }
}

/// Starts logging: pretty on a terminal, JSON otherwise. RUST_LOG filters.
///
/// # Errors
/// A filter that can't be read, or logging that was started before.
pub fn start() -> anyhow::Result<Log> {
    let filter = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = filter.unwrap_or_else(|| "info".to_owned());
    let filter = EnvFilter::try_new(&filter).with_context(|| format!("RUST_LOG={filter}"))?;
    let (writer, guard) = queued(stderr());
    let log = Log { dropped: writer.error_counter(), _guard: guard };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // Where a line can't be written, there is nowhere to say so.
    let builder = builder.log_internal_errors(false);
    let started = if stderr().is_terminal() {
        builder.with_target(false).with_ansi(true).try_init()
    } else {
        // The current span says it all: spans do not nest here.
        builder.fmt_fields(Members).event_format(LogLine).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("logging can't be started: {error}"))?;
    Ok(log)
}

/// Shows a token that was made, once.
pub fn announce(token: &str) {
    let told = "listening beyond loopback without TOKENS_SHA256: this token was made, and is \
                shown once";
    if tracing::enabled!(tracing::Level::WARN) {
        tracing::warn!(token, "{told}");
    } else {
        // Whatever RUST_LOG says: nobody could ask anything.
        let _ = writeln!(stderr(), "{told}: {token}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::Instant;

    use super::*;

    /// Shows each write; the first waits until it may go on.
    struct Shown {
        writes: SyncSender<Vec<u8>>,
        go: Option<Receiver<()>>,
    }

    impl Write for Shown {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(go) = self.go.take() {
                go.recv().unwrap();
            }
            self.writes.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_came_meanwhile_are_written_together_and_whole() {
        let line = |number: usize| format!("{number} {}\n", "x".repeat(number % 100));
        let lines: Vec<_> = (0..400).map(line).collect();
        let ((writes, shown), (go, may_go)) = (sync_channel(lines.len()), sync_channel(1));
        let (mut writer, guard) = queued(Shown { writes, go: Some(may_go) });
        for line in &lines {
            writer.write_all(line.as_bytes()).unwrap();
        }
        go.send(()).unwrap();
        drop((writer, guard));
        let writes: Vec<_> = shown.iter().collect();
        assert_eq!(writes.concat(), lines.concat().into_bytes());
        assert!(writes.iter().all(|bytes| bytes.ends_with(b"\n") && bytes.len() <= TOGETHER));
        assert!(writes.len() <= 2 + lines.concat().len() / TOGETHER, "{} writes", writes.len());
        assert!(writes.len() > 3, "{} writes", writes.len());
    }

    /// What is closed, full, or gone.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn what_cannot_be_written_is_passed_over_and_it_rests() {
        let mut log = Resting { writer: Closed, lines: Vec::with_capacity(TOGETHER) };
        for length in [1, TOGETHER, TOGETHER + 1, 7] {
            log.write_all(&vec![b'x'; length]).unwrap();
        }
        let begin = Instant::now();
        log.flush().unwrap();
        assert!(begin.elapsed() >= REST);
        assert_eq!((log.lines.len(), log.lines.capacity()), (0, TOGETHER));
    }
}
