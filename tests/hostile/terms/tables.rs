//! What fills up, and stays as it is whatever comes.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};

use super::stage::{Driven, Stage};
use super::wire::{self, Wire};

/// Records that are asked for: of the longest, a third is more than the cache takes.
pub const RECORDS: u64 = 6_000;

/// Downloads that are counted while the database does not take them: twice what there
/// is room for.
const DOWNLOADS: usize = 10_000;

/// Addresses: every bucket has had one, and the table has grown, with half of them.
const ADDRESSES: u32 = 400_000;

/// Lines, half of which the pipe, the queue and whoever writes have room for.
const LINES: usize = 4_000;

/// Far more records than it has room for, twice.
pub fn cache(stage: &mut Stage) -> Result<Driven> {
    let record = |number| wire::get(&format!("/v1/files/{}", tests::rows::id(number)));
    twice(stage, "cache", 200, |number| record(number + 1), RECORDS)
}

/// Asks as often, and again; what it holds after the first half it holds after all.
fn twice(
    stage: &mut Stage,
    term: &'static str,
    status: u16,
    request: impl Fn(u64) -> String,
    count: u64,
) -> Result<Driven> {
    let mut client = Wire::open(stage.address())?;
    ensure!(client.get("/livez")?.0.status == 200);
    stage.begin()?;
    let mut held = Vec::new();
    for half in [0..count / 2, count / 2..count] {
        let others = client.flood(half.map(&request), status)?;
        ensure!(others == 0, "{others} answers were not {status}");
        held.push(stage.look()?.live);
    }
    let more = held[1].saturating_sub(held[0]);
    let unit = stage.term(term).unit;
    ensure!(more <= unit / 10, "twice the load: {more} B more");
    Ok(Driven {
        held: Box::new(client),
        driven: vec![(term, 1)],
        beside: vec![],
        told: format!("{status}; {} KiB more", more >> 10),
    })
}

/// The database does not take what was counted.
pub fn audit(stage: &mut Stage) -> Result<Driven> {
    let path = Wire::open(stage.address())?.upload(1)? + "/content";
    stage.at_rest()?;
    let lock = stage.database.lock("file_stats")?;
    let request = wire::get(&path);
    let mut driven = twice(stage, "audit queue", 200, |_| request.clone(), DOWNLOADS as u64)?;
    driven.held = Box::new((driven.held, lock));
    driven.beside.push(("pooled connections", 1));
    Ok(driven)
}

/// Each request comes from an address of its own.
pub fn rate_limit(stage: &mut Stage) -> Result<Driven> {
    let request = |number: u64| {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let address = Ipv4Addr::from_bits(number.wrapping_mul(0x9e37_79b1)).to_string();
        wire::request("GET", "/none", &[("x-forwarded-for", &address)])
    };
    twice(stage, "rate limit", 404, request, u64::from(ADDRESSES))
}

/// Nobody reads the log. Of each line, what a client can put into it is as long as it
/// can be.
pub fn log(stage: &mut Stage) -> Result<Driven> {
    let unread = stage.scene.target.leave_log_unread();
    // What is told in a line is told escaped.
    let path = format!("/{}", "\"".repeat(127));
    let request = wire::request("MMMMMMMMMMMMMMMM", &path, &[]);
    let mut driven = twice(stage, "log", 404, |_| request.clone(), LINES as u64)?;
    driven.held = Box::new((driven.held, unread));
    Ok(driven)
}
