//! The memory limit that applies to this process, and a plan that must fit
//! into it. A leaf: it knows no other crate of the workspace.
//!
//! - [`limit`]: how much there is, and who says so;
//! - [`plan`]: terms, their sum, and whether it fits; [`mod@fit`]: counts from a limit;
//! - [`table`]: the plan for people; [`report`]: for programs.

pub mod fit;
pub mod limit;
pub mod plan;
pub mod report;
pub mod table;

pub use fit::fit;
pub use limit::{Limit, Source};
pub use plan::{DoesNotFit, Kind, Plan, Term};
pub use report::{InUse, MemoryReport, PlanReport};
pub use table::Mib;
