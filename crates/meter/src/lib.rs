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
//! buffers, and what the allocator adds (size classes, arenas).

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
pub mod sample;
mod scale;
mod svg;
pub mod table;
pub mod verdict;
mod wording;

pub use budgets::{Budget, Budgets, CaseBudget, Twin};
pub use counting::{Counting, Snapshot, reset_peak, snapshot};
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
pub use sample::{Report, Sample};
pub use table::table;
pub use verdict::Verdict;
