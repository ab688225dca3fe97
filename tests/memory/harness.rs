//! The harness itself, from end to end: trials beside those of the cases.

use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Failed, Trial};
use sqlx::{Connection as _, PgConnection};
use tests::database::{Scratch, sweep};

use crate::{child, rig};

pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, run: fn() -> Result<()>| {
        Trial::test(name, move || run().map_err(|error| Failed::from(format!("{error:#}"))))
    };
    vec![
        trial("a_leak_on_purpose_is_found", a_leak_on_purpose_is_found),
        trial(
            "what_is_missing_or_wrong_has_its_exit_code",
            what_is_missing_or_wrong_has_its_exit_code,
        ),
        trial("a_sweep_leaves_what_is_in_use", a_sweep_leaves_what_is_in_use),
    ]
}

/// The twin of `selftest` keeps an entry a connection. In the pattern's place, it has
/// to break the budget, as growth, by the process's own exit code.
fn a_leak_on_purpose_is_found() -> Result<()> {
    let output = memtest(&["selftest", "--swap"])?;
    let table = String::from_utf8_lossy(&output.stdout);
    let row = |metric: &str| table.lines().find(|line| line.contains(metric));
    let leak = row(" retained_per_op ").with_context(|| format!("no row: {table}"))?;
    ensure!(leak.contains("O(n)") && leak.ends_with("BROKEN"), "{leak}");
    ensure!(output.status.code() == Some(2), "{}: {table}", output.status);
    Ok(())
}

fn what_is_missing_or_wrong_has_its_exit_code() -> Result<()> {
    for (arguments, code) in [
        (["no_such_case"].as_slice(), 1),
        (&["--no-such-option"], 1),
        (&["selftest", "--html", "no/such/folder/page.html"], 1),
        (&["--saved", "Cargo.toml"], 1),
        (&["selftest", "--baseline", "no/such/file"], 5),
        (&["selftest", "--tier", "C"], 5),
        (&["--list"], 0),
    ] {
        let output = memtest(arguments)?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(code), "{arguments:?}: {}: {told}", output.status);
        ensure!(code == 0 || !told.trim().is_empty(), "{arguments:?} fails in silence");
    }
    Ok(())
}

fn memtest(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(child::program()?);
    Ok(command.arg("memtest").args(arguments).output()?)
}

/// Between creating and connecting too, when Postgres itself would drop it.
fn a_sweep_leaves_what_is_in_use() -> Result<()> {
    rig::run(async {
        let scratch = Scratch::create().await?;
        let url = scratch.url();
        sweep().await?;
        PgConnection::connect(&url).await.context("it was swept while in use")?.close().await?;
        drop(scratch); // as a process that crashes does: the lock goes, the database stays
        for _ in 0..100 {
            sweep().await?;
            if PgConnection::connect(&url).await.is_err() {
                return Ok(());
            }
            // Postgres notices the end of a connection in its own time.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        anyhow::bail!("nobody has it, and it is still there")
    })
}
