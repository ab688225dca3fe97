//! `cargo xtask`: the project's own commands.

use std::process::ExitCode;

use clap::Parser;

mod bench;
mod binary;
mod chart;
mod check;
mod child;
mod dev;
mod memtest;
mod mutants;
mod prepare;
mod take;
mod test;
mod tree;
mod weigh;

/// The project's own commands. Each sets up what it needs.
#[derive(Parser)]
enum Command {
    /// Sets up everything and runs the service until Ctrl-C
    ///
    /// A private Postgres is found, or fetched, and started; DATABASE_URL, if set, is used instead.
    /// Its data and the content (in .dev/content, or CONTENT_DIR) stay when everything ends.
    Dev(dev::Options),
    /// Runs all tests on a private Postgres
    ///
    /// It is found, or fetched, and started; DATABASE_URL, if set, is used instead, and its role
    /// must be allowed to create databases.
    Test(test::Options),
    /// Measures each pattern beside its naive twin and holds it to budgets.toml
    Memtest(memtest::Options),
    /// Draws the load line: what the plan explains of the memory measured in a hostile run
    ///
    /// It is the hostile load of `cargo xtask test`, of one to two minutes.
    Chart(chart::Options),
    /// Measures speed and memory, ours beside the peers
    Bench(bench::Options),
    /// Removes each bound in turn, and sees that a test notices
    ///
    /// mutants.toml has the bounds. It works on a copy of the checkout, changes that are not
    /// committed included, in the target folder.
    Mutants(mutants::Options),
    /// Builds what is shipped, and holds its size and its dependencies to weigh.toml
    Weigh(weigh::Options),
    /// Writes .sqlx/, against which queries are checked without a database
    ///
    /// DATABASE_URL is left alone: this always takes a private Postgres.
    Prepare(prepare::Options),
    /// Copies a pattern with its memory test into a crate by itself
    Take(take::Options),
    /// Runs rustfmt, clippy, rustdoc, cargo-deny, and the other checks on dependencies
    Check(check::Options),
}

fn main() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        // Not clap's own code for a wrong option: 2 says that a budget is broken.
        Err(error) => {
            let code = if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
            return if error.print().is_ok() { code } else { ExitCode::FAILURE };
        }
    };
    let result = match command {
        Command::Dev(options) => dev::run(options),
        Command::Test(options) => test::run(options),
        Command::Memtest(options) => memtest::run(options),
        Command::Chart(options) => chart::run(options),
        Command::Bench(options) => bench::run(options),
        Command::Mutants(options) => mutants::run(options),
        Command::Weigh(options) => weigh::run(options),
        Command::Prepare(options) => prepare::run(options),
        Command::Take(options) => take::run(options),
        Command::Check(options) => check::run(options),
    };
    // Not returned: with RUST_BACKTRACE set, a message for a person would drown in a backtrace.
    result.unwrap_or_else(|error| {
        eprintln!("Error: {error:#}");
        ExitCode::FAILURE
    })
}
