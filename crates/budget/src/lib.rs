//! The memory limit that applies to this process, and a plan that must fit
//! into it. A leaf: it knows no other crate of the workspace.

pub mod limit;
pub mod plan;

pub use limit::{Limit, Source};
pub use plan::{DoesNotFit, Kind, Plan, Term};
