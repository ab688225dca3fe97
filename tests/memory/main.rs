//! Memory tests: one file a pattern, with the naive twin that must fail.
//!
//! - `cargo xtask memtest [CASE…]` prints the table and holds budgets.toml.
//! - `cargo xtask test` runs a trial a case, in the release profile.
//! - `explain CASE` (with the feature of that name) tells where the peak was allocated.
//! - `sweep` drops the databases that interrupted runs left.
//! - `child CASE VARIANT` measures one variant, and is what both start: a fresh
//!   process, since what a process did before shows in its figures.

use std::process::ExitCode;

mod cases;
mod child;
#[cfg(feature = "explain")]
mod explain;
mod harness;
mod memtest;
mod rig;
mod trials;

#[cfg(not(feature = "explain"))]
#[global_allocator]
static ALLOCATOR: meter::Counting<std::alloc::System> = meter::Counting::new(std::alloc::System);

#[cfg(feature = "explain")]
#[global_allocator]
static ALLOCATOR: meter::Counting<dhat::Alloc> = meter::Counting::new(dhat::Alloc);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("child") => child::main(&arguments[2..]),
        #[cfg(feature = "explain")]
        Some("explain") => explain::main(&arguments[2..]),
        Some("sweep") => memtest::sweep(),
        Some("memtest") => memtest::main(&arguments[1..]),
        _ => trials::main(),
    }
}
