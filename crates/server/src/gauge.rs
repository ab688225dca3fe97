//! The gauge at work: a sample every so often, told to who sheds, the log and metrics.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use budget::gauge::Change;
use budget::{Figures, Gauge, Level};
use handler::Overload;
use handler::overload::Shed;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// From one sample to the next. Between the thresholds lie 10 % of the limit: at 64 MiB,
/// what grows by less than 25 MiB a second is seen in each level. A sample
/// takes some 30 µs, and no heap (the memory test `gauge`).
pub const INTERVAL: Duration = Duration::from_millis(250);

/// Where figures are from.
pub type Source = Box<dyn Fn() -> Figures + Send + Sync>;

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
        sampler.sample(source());
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
