//! Proves memory bounds: what a pattern holds, that it stays flat, and that the
//! test would notice if it didn't.
//!
//! A leaf: it knows nothing of the service around it, and any project can use
//! it. The parts, in the order in which a measurement passes through them:
//!
//! | part | what it does |
//! | --- | --- |
//! | [`Counting`] | a global allocator that counts: allocations, live bytes, their peak |
//! | [`Probe`] | what one operation did to these counts |
//! | [`quiesce()`] | waits until live bytes stop changing, before what is retained is read |
//! | [`Group`] | a real memory limit: a control group, version 1 or 2 |
//! | [`exempt()`] | leaves a thread's own work out of the counts: a client's |
//! | [`resident()`] | what another process holds: RSS and its peak, for a release binary |
//! | [`Curve`] | peak against size: slope by endpoints and by segment, O(1) or O(n) |
//! | [`Sample`], [`Report`] | the figures of one variant of a case, as JSON between processes |
//! | [`Budgets`] | ceilings that people own, beside the figures last recorded |
//! | [`loosened()`] | budgets against earlier ones: what became looser without a reason |
//! | [`judge()`] | figures against ceilings, the naive twin against its margin: verdicts, exit code |
//! | [`Judgement::compare`] | a run beside an earlier one |
//! | [`table()`], [`markdown()`] | all of it for a person to read |
//! | [`html()`], [`picture()`] | the same with a plot a case |
//!
//! ```
//! use meter::{Counting, Probe};
//!
//! #[global_allocator]
//! static ALLOCATOR: Counting<std::alloc::System> = Counting::new(std::alloc::System);
//!
//! let probe = Probe::start();
//! drop(vec![0_u8; 64 * 1024]);
//! let used = probe.read();
//! assert!(used.peak >= 64 * 1024);
//! assert_eq!(used.retained, 0);
//! ```
//!
//! # Limits
//! What is counted is what Rust code *requests* from the global allocator. Not
//! counted: memory of C libraries, stacks, memory maps, the kernel's socket
//! buffers, and what the allocator adds (size classes, arenas). Of the figures:
//!
//! | figure | what it can't tell |
//! | --- | --- |
//! | allocations, bytes | exact only on one thread, without sockets and a blocking pool; else a range |
//! | live bytes | whose they are: there is one count a process |
//! | peak | one a process, and of requested bytes: a block that moves as it grows exists twice for a moment, which is not seen |
//! | retained | meaningful only at rest ([`quiesce()`]), and over 1,000 operations or more: below, what comes and goes hides a leak |
//! | slope | as good as its sizes are far apart: 1 to 64 tells a byte in a thousand |
//! | class | by segments: flat within 4 KiB, O(n), or worse where the last segment is over three times as steep as the first. n log n passes for O(n); a rise in the last segment alone passes for worse |
//! | resident | nothing below some 100 KiB, and nothing at all of a process that is warm |
//!
//! What passes through `tower::ServiceExt::oneshot` misses all that the connection
//! holds: a download that seems to cost 18 KB so costs 257 through hyper. Measure
//! over a pipe or a socket where the connection matters.

pub mod budgets;
pub mod compare;
pub mod control;
pub mod counting;
pub mod curve;
pub mod figure;
pub mod group;
pub mod html;
pub mod judge;
pub mod loosened;
pub mod markdown;
pub mod picture;
mod plot;
pub mod probe;
pub mod quiesce;
pub mod resident;
pub mod sample;
mod scale;
mod svg;
pub mod table;
pub mod verdict;
mod wording;

pub use budgets::{Budget, Budgets, CaseBudget, Twin};
pub use counting::{Counting, Snapshot, exempt, reset_peak, snapshot};
pub use curve::{Class, Curve, Point};
pub use figure::Unit;
pub use group::Group;
pub use html::html;
pub use judge::{Judgement, Run, judge};
pub use loosened::loosened;
pub use markdown::markdown;
pub use picture::picture;
pub use probe::{Probe, Usage};
pub use quiesce::{NotQuiet, Quiet, quiesce};
pub use resident::{Resident, resident};
pub use sample::{Report, Sample};
pub use table::table;
pub use verdict::Verdict;

/// The README's example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
