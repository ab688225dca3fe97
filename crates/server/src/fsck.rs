//! `server fsck`: records and content compared, beside a running service or without one.

use std::io::Write;

use anyhow::Context;
use handler::fsck::{self, Options, Summary};
use streaming::LocalStore;

use crate::application::{connect, ensure_owner, identity};
use crate::config::{Config, size};

/// What is told beside the settings of the service.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Flags {
    /// Removes orphans and leftovers that are older than --sweep-age, as the service itself would,
    /// and moves content of another size or SHA-256 to the folder `quarantine`, so that no part of
    /// it is served. Records stay as they are: put the content back, or delete the file
    #[arg(long)]
    pub repair: bool,

    /// Compares sizes, and reads no content
    #[arg(long)]
    pub quick: bool,
}

/// Compares, and writes a line a finding and a summary to `out`.
///
/// # Errors
/// A folder or database that can't be used, or don't belong together.
pub async fn run(config: &Config, flags: Flags, out: &mut impl Write) -> anyhow::Result<Summary> {
    let store = LocalStore::existing(&config.content_dir).with_context(|| {
        format!("{} is no content folder that is in use", config.content_dir.display())
    })?;
    let pool = connect(config).await?;
    // First of all: with another database, all content would be without a record.
    ensure_owner(config, store.owner()?, identity(&pool).await?)?;
    let options = Options {
        age: config.sweep_age,
        digests: !flags.quick,
        chunk: size(config.upload_chunk),
        repair: flags.repair,
    };
    let tell = |finding: &fsck::Finding, repair| {
        // Who has stopped reading learns by the summary that it can't be written.
        let _ = writeln!(out, "{finding}{repair}");
    };
    let summary = fsck::fsck(&pool, &store, options, tell).await?;
    writeln!(out, "{summary}")?;
    store.close().await;
    pool.close().await;
    Ok(summary)
}
