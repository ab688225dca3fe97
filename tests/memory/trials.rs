//! Under `cargo xtask test`: a trial a case, which fails with its table.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use meter::{judge, table};
use tests::database;

use crate::cases::{self, Case, Tier};
use crate::rig;
use crate::{child, harness, memtest};

pub fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One after the other: peaks depend on whose turn it is, and resident memory is
    // read after so many seconds.
    arguments.test_threads.get_or_insert(1);
    let trials = cases::ALL.iter().map(|case| {
        // Resident memory is what Linux tells in /proc.
        let is_elsewhere = case.tier == Tier::C && cfg!(not(target_os = "linux"));
        Trial::test(case.name, || holds(case)).with_ignored_flag(is_elsewhere)
    });
    let trials = trials.chain(harness::trials()).collect();
    // Best effort: a database out of reach is each trial's to tell.
    let _ = rig::run(database::sweep());
    let conclusion = libtest_mimic::run(&arguments, trials);
    let _ = rig::run(database::sweep());
    conclusion.exit_code()
}

fn holds(case: &Case) -> Result<(), Failed> {
    let budgets = memtest::read_budgets().map_err(|error| format!("{error:#}"))?;
    let judgement = judge(&budgets, &[child::run(case, |_, _, _| ())], false);
    match judgement.exit_code() {
        0 => Ok(()),
        _ => Err(table(&judgement).into()),
    }
}
