//! The gauge at work: a sample every so often, told to who sheds, the log and metrics.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use budget::gauge::Change;
use budget::{Figures, Gauge, Level};
use handler::Overload;
use handler::overload::Shed;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// From one sample to the next. Between the thresholds lie 3 % of the limit: at 64 MiB,
/// what grows by less than 7 MiB a second is seen in each level, and by less than 12
/// before the limit. A sample
/// takes 15 µs of a worker (measured, version 1), and no heap (the memory test `gauge`).
pub const INTERVAL: Duration = Duration::from_millis(250);

/// Where figures are from. Clones ask the same.
#[derive(Clone)]
pub struct Source(Arc<dyn Fn() -> Figures + Send + Sync>);

impl Source {
    /// Asked at each sample, on a worker: it must not wait for anything.
    pub fn new(figures: impl Fn() -> Figures + Send + Sync + 'static) -> Self {
        Self(Arc::new(figures))
    }

    /// Those of this moment.
    #[must_use]
    pub fn read(&self) -> Figures {
        (self.0)()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

/// What the last sample said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// As they were read.
    pub figures: Figures,
    /// What they are judged against, in bytes.
    pub limit: u64,
    /// What came of it.
    pub level: Level,
    /// How often that has been another than before.
    pub changes: u64,
}

/// The last reading, for who shows it. Clones are one. Requests ask [`Overload`]
/// instead, which no lock is in the way of.
#[derive(Clone, Debug, Default)]
pub struct Readings(Arc<Mutex<Reading>>);

impl Readings {
    /// The last.
    #[must_use]
    pub fn last(&self) -> Reading {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, reading: Reading) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reading;
    }
}

/// A gauge, and who is told.
#[derive(Debug)]
pub struct Sampler {
    gauge: Gauge,
    overload: Overload,
    readings: Readings,
    changes: u64,
}

impl Sampler {
    /// Against this limit, in bytes.
    #[must_use]
    pub fn new(limit: u64, overload: Overload, readings: Readings) -> Self {
        Self { gauge: Gauge::new(limit), overload, readings, changes: 0 }
    }

    /// Judges one sample, and tells what came of it.
    pub fn sample(&mut self, figures: Figures) {
        let (limit, change) = (self.gauge.limit(), self.gauge.observe(&figures));
        let level = self.gauge.level();
        if let Some(change) = change {
            self.changes += 1;
            tell(change, &figures, limit);
        }
        self.overload.shed(match level {
            Level::Normal => Shed::Nothing,
            Level::High => Shed::Growth,
            Level::Critical => Shed::Requests,
        });
        self.readings.set(Reading { figures, limit, level, changes: self.changes });
    }
}

/// Samples until `stop`.
///
/// On a worker, not on the blocking pool: a disk that hangs may hold all of that.
pub async fn watch(source: Source, mut sampler: Sampler, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        sampler.sample(source.read());
    }
}

fn tell(Change { from, to }: Change, figures: &Figures, limit: u64) {
    let Figures { live_heap, resident, group } = *figures;
    let (from_level, level, percent) = (from.name(), to.name(), figures.percent(limit));
    let charged = group.map(|group| group.bytes);
    let group_limit = group.map(|group| group.limit);
    if to > from {
        tracing::warn!(
            level,
            from_level,
            percent,
            live_heap,
            resident,
            charged,
            group_limit,
            limit,
            "memory is short: load is shed"
        );
    } else {
        tracing::info!(
            level,
            from_level,
            percent,
            live_heap,
            resident,
            charged,
            group_limit,
            limit,
            "memory is less short"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio_util::task::TaskTracker;

    use super::*;

    /// Takes what the log says.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_change_is_in_the_log_once_and_sheds() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false);
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        let (overload, readings) = (Overload::default(), Readings::default());
        let mut sampler = Sampler::new(1000, overload.clone(), readings.clone());
        tracing::subscriber::with_default(subscriber, || {
            for (percent, sheds, said) in [
                (91, Shed::Nothing, None),
                (93, Shed::Growth, Some((" WARN ", "high", "normal"))),
                (91, Shed::Growth, None),
                (96, Shed::Requests, Some((" WARN ", "critical", "high"))),
                (92, Shed::Requests, None),
                (91, Shed::Growth, Some((" INFO ", "high", "critical"))),
                (89, Shed::Nothing, Some((" INFO ", "normal", "high"))),
            ] {
                let resident = Some(percent * 10);
                sampler.sample(Figures { resident, ..Figures::default() });
                assert!(overload.sheds(sheds), "{percent}");
                assert_eq!(overload.sheds(Shed::Growth), sheds >= Shed::Growth, "{percent}");
                assert_eq!(overload.sheds(Shed::Requests), sheds == Shed::Requests, "{percent}");
                assert_eq!(readings.last().figures.resident, resident);
                let text = String::from_utf8(std::mem::take(&mut *log.0.lock().unwrap())).unwrap();
                assert_eq!(text.lines().count(), usize::from(said.is_some()), "{text}");
                let Some((severity, level, from)) = said else { continue };
                let fields = format!(
                    "level=\"{level}\" from_level=\"{from}\" percent={percent} \
                     resident={} limit=1000",
                    percent * 10
                );
                assert!(text.contains(severity) && text.contains(&fields), "{fields} in {text}");
            }
        });
        assert_eq!(readings.last().changes, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sample_is_taken_at_once_and_then_at_each_interval_until_the_end() {
        let (taken, stop) = (Arc::<AtomicU64>::default(), CancellationToken::new());
        let counted = taken.clone();
        let source = Source::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Figures::default()
        });
        let sampler = Sampler::new(1000, Overload::default(), Readings::default());
        let task = TaskTracker::new().spawn(watch(source, sampler, stop.clone()));
        tokio::time::sleep(INTERVAL * 4 + INTERVAL / 2).await;
        assert_eq!(taken.load(Ordering::Relaxed), 5);
        stop.cancel();
        task.await.unwrap();
        assert_eq!(taken.load(Ordering::Relaxed), 5);
    }
}
