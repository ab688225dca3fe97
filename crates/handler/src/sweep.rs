//! Sweep: what a crash left behind goes, by age.

use std::fmt;
use std::io;
use std::time::Duration;

use storage::files;
use streaming::walk::{Entry, Standing};

use crate::App;

/// Files that are looked at at a time: with their names, 24 KiB.
const BATCH: usize = 256;

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Staged files of uploads that never ended.
    pub staged: usize,
    /// Content whose record was never made, or is deleted.
    pub content: usize,
}

/// Why a sweep, or a check, broke off.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The store can't be read.
    #[error("the store: {0}")]
    Store(#[from] io::Error),
    /// The database can't be asked.
    #[error("the database: {0}")]
    Database(#[from] storage::Error),
}

/// Removes staged files, and content without a record, that nobody has written
/// to for `age`. With an `age` above the stall limit of uploads and the time
/// that publishing takes, nothing live is ever touched, not another process's
/// either.
///
/// # Errors
/// [`SweepError`]; what was found by then is swept.
pub async fn sweep(app: &App, age: Duration) -> Result<Swept, SweepError> {
    let mut swept = Swept::default();
    let is_left = |entry: &Entry| entry.standing == Standing::Left;
    let mut staged = app.store.walk_staging(age).await?;
    loop {
        let batch = staged.next_batch(BATCH).await?;
        if batch.is_empty() {
            break;
        }
        for entry in batch.iter().filter(|entry| is_left(entry)) {
            match app.store.remove_staged(entry).await {
                Ok(()) => swept.staged += 1,
                Err(error) => passed_over(&entry.name.to_string_lossy(), &error),
            }
        }
    }
    let mut contents = app.store.walk_contents(age).await?;
    loop {
        let batch = contents.next_batch(BATCH).await?;
        if batch.is_empty() {
            return Ok(swept);
        }
        let left = batch.iter().filter(|entry| is_left(entry));
        let keys: Vec<_> = left.filter_map(Entry::key).collect();
        if keys.is_empty() {
            continue;
        }
        for key in files::without_record(&app.pool, &keys).await? {
            match app.store.remove(key, ()).await {
                Ok(()) => swept.content += 1,
                Err(error) => passed_over(&key, &error),
            }
        }
    }
}

/// One that can't be removed must not keep the others, nor the quota's count.
fn passed_over(name: &dyn fmt::Display, error: &io::Error) {
    tracing::warn!(%name, %error, "a leftover could not be removed; the next sweep will try again");
}
