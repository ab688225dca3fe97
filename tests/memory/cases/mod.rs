//! The cases. Each has one file: what goes wrong, the pattern, the bound, the
//! twin.

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;
use meter::Report;

mod admission;
mod audit;
mod body_limit;
mod cache;
mod cleanup;
mod compression;
mod connections;
mod download;
mod export;
mod gauge;
mod list;
mod log;
mod multipart;
mod pool;
mod rate_limit;
mod records;
mod resident;
mod response;
mod selftest;
mod shared_bytes;
mod soak;
mod upload;

/// Where a case measures.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tier {
    /// The service's own code in the test process, over pipes, on one thread: live
    /// bytes and counts
    #[value(name = "A")]
    A,
    /// The release binary over TCP, a cold process: resident memory
    #[value(name = "C")]
    C,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::A => "A",
            Self::C => "C",
        })
    }
}

/// A pattern and its naive twin.
pub struct Case {
    /// Its name in budgets.toml.
    pub name: &'static str,
    pub tier: Tier,
    /// What it shows, in a line.
    pub about: &'static str,
    pub pattern: fn() -> Result<Report>,
    pub twin: fn() -> Result<Report>,
}

/// Every case, in the order of the table.
pub const ALL: &[Case] = &[
    upload::CASE,
    download::CASE,
    multipart::CASE,
    export::CASE,
    list::CASE,
    response::CASE,
    records::CASE,
    shared_bytes::CASE,
    cache::CASE,
    body_limit::CASE,
    compression::CASE,
    connections::CASE,
    admission::CASE,
    rate_limit::CASE,
    pool::CASE,
    audit::CASE,
    log::CASE,
    gauge::CASE,
    cleanup::CASE,
    soak::CASE,
    resident::CASE,
    selftest::CASE,
];

/// The case of this name.
pub fn find(name: &str) -> Option<&'static Case> {
    ALL.iter().find(|case| case.name == name)
}
