//! The memory limit that applies to this process, a plan that must fit into it, and
//! a gauge of how near what is used comes to it. A leaf: it knows no other crate of the
//! workspace.
//!
//! - [`limit`]: how much there is, and who says so;
//! - [`plan`]: terms, their sum, and whether it fits; [`mod@fit`]: counts from a limit;
//! - [`table`]: the plan for people; [`report`]: for programs;
//! - [`usage`]: how much is in use; [`gauge`]: what level of overload that is.

pub mod fit;
pub mod gauge;
pub mod limit;
pub mod plan;
pub mod report;
pub mod table;
pub mod usage;

pub use fit::fit;
pub use gauge::{Figures, Gauge, Level};
pub use limit::{Limit, Source};
pub use plan::{DoesNotFit, Kind, Plan, Term};
pub use report::{InUse, MemoryReport, PlanReport};
pub use table::Mib;
pub use usage::Usage;
