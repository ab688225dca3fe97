//! Each term of the plan alone, driven to its count in the limit: it is all in use, it
//! holds about what the plan says, and never more; one more is told so, or changes
//! nothing; and when its clients have gone, so has what they held.
//!
//! What is compared is what the term's unit counts: of the process the live heap, as
//! the allocator tells it; of the kernel what it holds for sockets; of base and threads
//! resident memory.

use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};
use budget::plan::HEAP_TO_RESIDENT_PERCENT;
use budget::{Kind, Mib, Term};
use libtest_mimic::{Failed, Trial};

mod connections;
mod process;
mod stage;
mod streams;
mod tables;
pub mod wire;

use stage::{Driven, Seen, Stage};

use crate::scene::{Memory, Scene};

/// A term, or some that can't be driven one without the other.
struct Scenario {
    name: &'static str,
    arguments: &'static [&'static str],
    /// Records that there are.
    records: u64,
    drive: fn(&mut Stage) -> Result<Driven>,
    /// What one more must be told; empty where that is not a status.
    told: &'static str,
    /// What must be held, in percent of count and unit. Below [`LEAST`] with a reason.
    least: u64,
    /// What it has filled stays full.
    stays: bool,
    /// Threads keep for later what they have freed, which is theirs.
    keeps: bool,
    /// It is run by `--ignored`: it takes a pace that is found by trying.
    by_chance: bool,
}

/// What a term must hold at the least of what its count and unit say, in percent: else
/// the plan pays for what is not there.
const LEAST: u64 = 70;

/// What the live heap may be above what it was, in bytes, when all is over.
const LEFT: u64 = 256 << 10;

/// Nobody is cut off, or told to come later, while it is measured.
const PATIENT: [&str; 8] = [
    "--first-byte-timeout=10m",
    "--header-timeout=10m",
    "--idle-timeout=10m",
    "--write-timeout=10m",
    "--upload-timeout=10m",
    "--pool-timeout=10s",
    "--rate-limit-period=1us",
    "--rate-limit-burst=1000000",
];

const fn scenario(name: &'static str, drive: fn(&mut Stage) -> Result<Driven>) -> Scenario {
    Scenario {
        name,
        arguments: &[],
        records: 0,
        drive,
        told: "",
        least: LEAST,
        stays: false,
        keeps: false,
        by_chance: false,
    }
}

const SCENARIOS: [Scenario; 16] = [
    // Threads keep what they had last, and the pool its connections.
    Scenario {
        stays: true,
        keeps: true,
        ..scenario("alone_base_and_threads", process::base_and_threads)
    },
    Scenario { told: "200", ..scenario("alone_connections", connections::connections) },
    Scenario { told: "503", ..scenario("alone_sockets", connections::sockets) },
    Scenario { told: "503", ..scenario("alone_large_sockets", connections::large_sockets) },
    Scenario { told: "503", ..scenario("alone_requests", connections::requests) },
    Scenario { told: "503", ..scenario("alone_uploads", streams::uploads) },
    Scenario { told: "503", ..scenario("alone_downloads", streams::downloads) },
    Scenario { told: "200", ..scenario("alone_large_chunks", streams::large_chunks) },
    Scenario { told: "503", records: 20_000, ..scenario("alone_pages", streams::pages) },
    // It takes a Postgres over TCP, too: what waits in a Unix socket is in no TCP account.
    Scenario {
        records: 20_000,
        by_chance: true,
        ..scenario("alone_rows_ahead", streams::rows_ahead)
    },
    Scenario {
        told: "200, as it is",
        records: 20_000,
        ..scenario("alone_encoders", streams::encoders)
    },
    Scenario { records: tables::RECORDS, stays: true, ..scenario("alone_cache", tables::cache) },
    scenario("alone_audit_queue", tables::audit),
    Scenario {
        arguments: &["--trusted-proxies=1"],
        stays: true,
        ..scenario("alone_rate_limit", tables::rate_limit)
    },
    // Of a line's 1,024 bytes a client can fill 640 (path and method are cut); the rest is
    // for what the service says of itself.
    Scenario { least: 50, ..scenario("alone_log", tables::log) },
    Scenario { stays: true, ..scenario("alone_pooled_connections", process::pool) },
];

/// What was measured, for [`show`].
static ROWS: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub fn trials() -> impl Iterator<Item = Trial> {
    SCENARIOS.into_iter().map(|scenario| {
        let name = format!("terms::{}", scenario.name);
        let by_chance = scenario.by_chance;
        let run = move || scenario.run().map_err(|error| Failed::from(format!("{error:#}")));
        Trial::test(name, run).with_ignored_flag(by_chance)
    })
}

/// Prints what was measured, of all that have run.
pub fn show() {
    let rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    if !rows.is_empty() {
        println!("\n{}\n{}", Row::TITLE, rows.join("\n"));
    }
}

impl Scenario {
    fn run(&self) -> Result<()> {
        let arguments = [&PATIENT, self.arguments].concat();
        let mut stage = Stage::set(&arguments, self.records, self.keeps)?;
        stage.begin()?;
        let (begun, used) = (stage.before.clone(), stage.memory.clone());
        let Driven { held, driven, beside, told } = (self.drive)(&mut stage)?;
        let row = Row::of(&stage, &begun, &used, &driven, &beside, told);
        ROWS.lock().unwrap_or_else(PoisonError::into_inner).push(row.to_string());
        println!("{row}");

        row.judge(self)?;
        for (name, count) in &driven {
            let used = stage.memory.of(name).in_use;
            let all = stage.term(name).count;
            // Of what is not told the scenario has looked for itself.
            ensure!(!is_told(name) || (used, *count) == (all, all), "{name}: {used} of {all}");
        }
        drop(held);
        stage.at_rest()?;
        stage.look()?;
        let now = stage.look()?.live;
        let left = now.saturating_sub(begun.live);
        ensure!(self.stays || left <= LEFT, "{} of heap are left", Mib(left));
        ensure!(stage.scene.target.alive(), "the server died");
        if let Some(group) = &stage.scene.group {
            ensure!(group.killed()? == 0, "the kernel killed it");
        }
        let Stage { scene, database, .. } = stage;
        let Scene { target, ground, .. } = scene;
        let status = target.stop();
        ensure!(status.success(), "it ended with {status}");
        ensure!(ground.staged() == 0, "staged files are left");
        drop(database);
        Ok(())
    }
}

/// Whether `/memory` tells how many there are while they hold still. Of the rest it says
/// that they are full, or has seen them only for a moment.
fn is_told(name: &str) -> bool {
    const TOLD: [&str; 11] = [
        "connections",
        "sockets, received",
        "sockets, uploads",
        "sockets, unsent",
        "requests",
        "uploads",
        "upload buffers",
        "downloads",
        "large chunks",
        "pages",
        "encoders",
    ];
    TOLD.contains(&name)
}

/// What a scenario held, beside what the plan says.
struct Row {
    terms: Vec<Term>,
    /// In bytes, as the terms' kind counts them.
    held: u64,
    /// The same since nobody was there: with connections, and all else that it took.
    in_all: u64,
    /// What all terms in use may hold then.
    most: u64,
    /// What may hold something beside the terms.
    beside: u64,
    resident: u64,
    told: String,
}

impl Row {
    const TITLE: &'static str = "\
| term | count | unit | share | held | of count x unit | in all | of what is in use | resident grown | one more |\n\
|---|---|---|---|---|---|---|---|---|---|";

    fn of(
        stage: &Stage,
        begun: &Seen,
        used: &Memory,
        driven: &[(&'static str, u64)],
        beside: &[(&'static str, u64)],
        told: String,
    ) -> Self {
        let of = |(name, count): &(&'static str, u64)| Term { count: *count, ..stage.term(name) };
        let terms: Vec<_> = driven.iter().map(of).collect();
        let (kind, most) = (terms[0].kind, &stage.most);
        let figure = |seen: &Seen| match kind {
            Kind::Heap => seen.live,
            Kind::Kernel => seen.sockets,
            // What is live is other terms'.
            Kind::Resident => {
                seen.resident.saturating_sub(seen.live * HEAP_TO_RESIDENT_PERCENT / 100)
            }
        };
        // Base and threads were there before anybody came.
        let since = |before: &Seen| match kind {
            Kind::Resident => figure(most),
            _ => figure(most).saturating_sub(figure(before)),
        };
        let kernel = kind == Kind::Kernel;
        let grown = stage.memory.in_use(kernel).saturating_sub(used.in_use(kernel));
        let full = terms.iter().filter(|term| !is_told(term.name)).map(Term::bytes).sum::<u64>();
        let beside = beside.iter().map(of).filter(|term| (term.kind == Kind::Kernel) == kernel);
        let beside = beside.map(|term| term.bytes()).sum();
        Self {
            held: since(&stage.before),
            in_all: since(begun),
            most: grown + full + beside,
            beside,
            resident: most.resident.saturating_sub(begun.resident),
            told,
            terms,
        }
    }

    /// What the terms that it has driven come to.
    fn planned(&self) -> u64 {
        self.terms.iter().map(|term| term.count * term.unit).sum()
    }

    /// What they may take of memory.
    fn share(&self) -> u64 {
        self.terms.iter().map(Term::bytes).sum()
    }

    fn judge(&self, scenario: &Scenario) -> Result<()> {
        let Self { held, in_all, told, .. } = self;
        let least = self.planned() / 100 * scenario.least;
        let (share, in_use) = (self.share() + self.beside, self.most);
        ensure!(*held >= least, "{} held, {} at least", Mib(*held), Mib(least));
        ensure!(*held <= share, "{} held, {} at most", Mib(*held), Mib(share));
        ensure!(*in_all <= in_use, "{} held in all, {} at most", Mib(*in_all), Mib(in_use));
        ensure!(scenario.told.is_empty() || told == scenario.told, "one more was told: {told}");
        Ok(())
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of =
            |part: fn(&Term) -> String| self.terms.iter().map(part).collect::<Vec<_>>().join(" + ");
        write!(
            f,
            "| {} | {} | {} | {} | {} | {} % | {} | {} % | {} | {} |",
            of(|term| term.name.to_owned()),
            of(|term| term.count.to_string()),
            of(|term| format!("{} B", term.unit)),
            Mib(self.share()),
            Mib(self.held),
            100 * self.held / self.planned().max(1),
            Mib(self.in_all),
            100 * self.in_all / self.most.max(1),
            Mib(self.resident),
            self.told,
        )
    }
}
