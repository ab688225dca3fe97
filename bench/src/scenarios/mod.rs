//! What is asked of each server.

use anyhow::Result;

use crate::ground::Ground;
use crate::server::{Routes, Server};

mod crowd;
mod held;
pub mod least;
mod small;
mod transfer;

/// What a scenario's speed is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// MiB a second; CPU seconds a GiB.
    Transfer,
    /// Requests a second; CPU microseconds a request.
    Requests,
    /// Bytes a connection: less is better, and nothing is compared.
    Held,
    /// Bytes of memory in which it still works: as for `Held`.
    Least,
}

/// One use of a server.
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub unit: Unit,
    /// Whose speed is 1.
    pub reference: &'static str,
    /// Whether a server can do it.
    pub can: fn(&Routes) -> bool,
    /// What is done once before, and not measured.
    pub warm: Option<fn(&Server, &Ground) -> Result<()>>,
    pub run: fn(&Server, &Ground) -> Result<Work>,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Work {
    /// Bytes, or requests.
    pub amount: f64,
    /// How long each request took, in seconds.
    pub latencies: Vec<f64>,
    /// Bytes a connection; not a number where the server has closed all of them.
    pub held: Option<f64>,
}

/// Everything, in the order of the report.
pub const ALL: &[Scenario] = &[
    transfer::UPLOAD,
    transfer::UPLOADS,
    transfer::FORM,
    transfer::DOWNLOAD,
    transfer::DOWNLOADS,
    transfer::FIRST,
    transfer::COLD,
    small::RANGES,
    small::RECORD,
    small::PAGE,
    small::EXPORT,
    held::IDLE,
    held::IDLE_AFTER_UPLOAD,
    held::SLOW_UPLOAD,
    held::STALLED_READER,
    least::UPLOADS,
    least::DOWNLOADS,
];
