//! The gauge: how near the memory in use is to the limit, and which level of
//! overload that is.
//!
//! **What goes wrong**: permits bound what the plan knows of. What it does not know
//! (a leak, a neighbour in the control group, an allocator that gives nothing back)
//! grows until the kernel kills the process, with every request in it.
//!
//! **The pattern**: two levels, at the thresholds of Envoy's overload manager. Each
//! begins at one threshold and ends at a lower one (hysteresis): what is refused at
//! 92 % would else let the figure fall to 91 %, be accepted, and so on with each
//! sample. Permits enforce; the gauge only backstops.
//!
//! **The bound**: [`HIGH`] and [`CRITICAL`]. Reading and judging cost no heap, however
//! often: held by the memory test `gauge`.

use serde::Serialize;

/// Where a level begins and where it ends, in percent of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// At this and above, it begins.
    pub begins: u64,
    /// Below this, it ends.
    pub ends: u64,
}

/// Of [`Level::High`]. The plan may fill 90 % of the limit, and that load is never to be
/// shed: it begins above, where Envoy ends keep-alive, and ends where the plan does. 92 %
/// leaves 5.1 MiB of 64: what uploads, exports and encoders that were admitted may still
/// come to, and some seconds of a leak; 2 points are 1.3 MiB of 64, eight uploads, so that
/// no few of them make it flap. Held by
/// `a_level_begins_at_one_threshold_and_ends_at_a_lower_one`, and over the wire by
/// `tests/http` gauge.
pub const HIGH: Threshold = Threshold { begins: 92, ends: 90 };

/// Of [`Level::Critical`]. 95 % leaves 3.2 MiB of 64: enough to answer probes, and to
/// let responses in flight end. Held as [`HIGH`] is.
pub const CRITICAL: Threshold = Threshold { begins: 95, ends: 92 };

/// What the plan fills is below.
const _: () = assert!(100 - crate::plan::SLACK_PERCENT <= HIGH.ends);

/// How near it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// All is served.
    #[default]
    Normal,
    /// Nothing is begun that takes much, and keep-alive ends.
    High,
    /// Only probes are answered.
    Critical,
}

impl Level {
    /// In the log and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What is in use, as far as it can be told. What can't is not judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// What the program has asked of its allocator and not given back, in bytes.
    pub live_heap: Option<u64>,
    /// The process's pages in memory, in bytes.
    pub resident: Option<u64>,
    /// What the control group is charged.
    pub group: Option<Charge>,
}

/// What a control group is charged that the kernel can't take back, and its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Charge {
    /// All but page cache, in bytes: that of every process in it, and in version 2 of
    /// their sockets.
    pub bytes: u64,
    /// In bytes. Not the configured one, which is this process's alone.
    pub limit: u64,
}

impl Figures {
    /// The figure that is nearest to its limit, in percent of it, cut to a whole
    /// number. The control group's limit is its own, `limit` that of the others.
    #[must_use]
    pub fn percent(&self, limit: u64) -> u64 {
        let of_process = [self.live_heap, self.resident].map(|bytes| Some((bytes?, limit)));
        let of_group = self.group.map(|group| (group.bytes, group.limit));
        let all = of_process.into_iter().chain([of_group]).flatten();
        all.map(|(bytes, limit)| bytes.saturating_mul(100) / limit.max(1)).max().unwrap_or(0)
    }
}

/// From one level to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Before.
    pub from: Level,
    /// From now on.
    pub to: Level,
}

/// The state machine: what the level was, and what figures make of it.
#[derive(Clone, Copy, Debug)]
pub struct Gauge {
    limit: u64,
    level: Level,
}

impl Gauge {
    /// At [`Level::Normal`], against this limit, in bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { limit, level: Level::Normal }
    }

    /// In bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// As of the last sample.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Takes a sample. Some where the level is another than before.
    pub fn observe(&mut self, figures: &Figures) -> Option<Change> {
        let percent = figures.percent(self.limit);
        // What a level began at holds it up until it ends.
        let holds = |level, threshold: Threshold| {
            let bound = if self.level >= level { threshold.ends } else { threshold.begins };
            percent >= bound
        };
        let to = if holds(Level::Critical, CRITICAL) {
            Level::Critical
        } else if holds(Level::High, HIGH) {
            Level::High
        } else {
            Level::Normal
        };
        let from = std::mem::replace(&mut self.level, to);
        (from != to).then_some(Change { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::Level::{Critical, High, Normal};
    use super::*;

    /// The levels after each of these samples, in percent of the limit.
    fn levels(samples: &[u64]) -> Vec<Level> {
        let mut gauge = Gauge::new(1000);
        let level = |percent: &u64| {
            let before = gauge.level();
            let figures = Figures { resident: Some(percent * 10), ..Figures::default() };
            let change = gauge.observe(&figures);
            let after = gauge.level();
            let expected = (before != after).then_some(Change { from: before, to: after });
            assert_eq!(change, expected, "a change is told, and nothing else");
            after
        };
        samples.iter().map(level).collect()
    }

    #[test]
    fn a_level_begins_at_one_threshold_and_ends_at_a_lower_one() {
        // Rising.
        assert_eq!(
            levels(&[0, 91, 92, 94, 95, 200]),
            [Normal, Normal, High, High, Critical, Critical]
        );
        // Falling.
        assert_eq!(
            levels(&[95, 94, 92, 91, 90, 89]),
            [Critical, Critical, Critical, High, High, Normal]
        );
        // At once, past both.
        assert_eq!(levels(&[99, 0, 99, 91, 89]), [Critical, Normal, Critical, High, Normal]);
    }

    #[test]
    fn what_flaps_around_a_threshold_changes_nothing() {
        let around = |one: u64, other: u64| [one, other].repeat(50);
        assert!(levels(&around(90, 91)).iter().all(|level| *level == Normal));
        assert!(levels(&around(92, 90)).iter().all(|level| *level == High));
        assert!(levels(&around(93, 91)).iter().all(|level| *level == High));
        assert!(levels(&around(95, 92)).iter().all(|level| *level == Critical));
        assert!(levels(&around(96, 94)).iter().all(|level| *level == Critical));
    }

    #[test]
    fn the_figure_nearest_to_its_limit_is_judged() {
        let limit = 1000;
        let group = Some(Charge { bytes: 300, limit: 400 });
        let all = Figures { live_heap: Some(500), resident: Some(600), group };
        assert_eq!(all.percent(limit), 75);
        assert_eq!(Figures { live_heap: Some(900), ..all }.percent(limit), 90);
        assert_eq!(Figures { resident: Some(809), ..all }.percent(limit), 80);
        assert_eq!(Figures { group: None, ..all }.percent(limit), 60);
        assert_eq!(Figures::default().percent(limit), 0, "nothing is known");
        // Neither divides by nothing nor wraps.
        assert_eq!(Figures { group: None, ..all }.percent(0), 60_000);
        assert!(Figures { resident: Some(u64::MAX), ..all }.percent(u64::MAX) < 100);
    }

    #[test]
    fn nothing_known_is_no_overload() {
        let mut gauge = Gauge::new(1000);
        gauge.observe(&Figures { live_heap: Some(990), ..Figures::default() });
        assert_eq!(gauge.level(), Critical);
        let change = gauge.observe(&Figures::default());
        assert_eq!(change, Some(Change { from: Critical, to: Normal }));
    }
}
