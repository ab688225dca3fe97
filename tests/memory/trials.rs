//! Under `cargo test`: a trial a case, which fails with its table.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use meter::{judge, table};
use tests::database;

use crate::cases::{self, Case};
use crate::rig;
use crate::{child, harness, memtest};

pub fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Measurements beside each other would be slower, not wrong: two cores.
    arguments.test_threads.get_or_insert(1);
    let trials = cases::ALL.iter().map(|case| Trial::test(case.name, || holds(case)));
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
