//! Log: lines on their way, however slowly they are written.
//!
//! **What goes wrong**: a queue that nobody has bounded keeps what a disk or a pipe
//! does not take.
//!
//! **The pattern**: `server::telemetry::queued`. A queue of 512 lines in front of a
//! thread; full means that a line is dropped, and counted.
//!
//! **The bound**: `server::telemetry::cost()`, with a writer that stands still.
//!
//! **The twin**: what tracing-appender's documentation shows first:
//! `non_blocking(writer)`, which keeps 128,000 lines.

use std::hint::black_box;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use anyhow::{Result, ensure};
use meter::{Probe, Report, Sample};
use server::telemetry::{self, cost};
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};

use super::{Case, Tier};

pub const CASE: Case = Case {
    name: "log",
    tier: Tier::A,
    about: "lines on their way: a bounded queue, whoever does not take them",
    pattern: || measure(telemetry::queued),
    twin: || measure(tracing_appender::non_blocking),
};

/// Lines that are said while the writer stands still.
const LINES: u64 = 100_000;

/// As long as any is counted with.
const LINE: [u8; 1024] = [b'x'; 1024];

/// Takes nothing until it is let go; counts the lines that it has taken.
struct Stuck {
    go: Receiver<()>,
    written: Arc<AtomicU64>,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // An error is its end: nobody holds it any more.
        let _ = self.go.recv();
        self.written.fetch_add((bytes.len() / LINE.len()) as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `held`: what is live when all has been said, at the most.
fn measure(queued: impl Fn(Stuck) -> (NonBlocking, WorkerGuard)) -> Result<Report> {
    let (hold, go) = sync_channel::<()>(0);
    let written = Arc::<AtomicU64>::default();
    let probe = Probe::start();
    let (mut writer, guard) = queued(Stuck { go, written: written.clone() });
    for _ in 0..LINES {
        ensure!(writer.write(&LINE)? == LINE.len());
    }
    let held = Sample::new("held", vec![probe.read().peak as f64]);
    black_box(&writer);
    let dropped = writer.error_counter().dropped_lines() as u64;
    drop(hold);
    drop((writer, guard));
    let written = written.load(Ordering::Relaxed);
    ensure!(written + dropped == LINES, "{written} lines were written, {dropped} dropped");
    let unit = held.clone().share_of("unit", cost());
    let note = format!("{dropped} of {LINES} lines were dropped, and counted");
    Ok(Report { samples: vec![held.with_note(note), unit] })
}
