//! The memory limit that applies to this process, a plan that must fit into it, and
//! a gauge of how near what is used comes to it. A leaf: it knows no other crate of the
//! workspace.

pub mod gauge;
pub mod limit;
pub mod plan;
pub mod usage;

pub use gauge::{Figures, Gauge, Level};
pub use limit::{Limit, Source};
pub use plan::{DoesNotFit, Kind, Plan, Term};
pub use usage::Usage;
