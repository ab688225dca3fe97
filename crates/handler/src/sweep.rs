//! Sweep: what a crash left behind goes, by age.

use std::io;
use std::time::Duration;

use storage::files;

use crate::App;

/// Keys that are looked up at a time: 4 KiB of ids.
const BATCH: usize = 256;

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Staged files of uploads that never ended.
    pub staged: usize,
    /// Content whose record was never made, or is deleted.
    pub content: usize,
}

/// Why a sweep broke off.
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
    let mut swept = Swept { staged: app.store.sweep_staging(age).await?, content: 0 };
    let mut keys = app.store.old_keys(age).await?;
    loop {
        let batch = keys.next_batch(BATCH).await?;
        if batch.is_empty() {
            return Ok(swept);
        }
        for key in files::without_record(&app.pool, &batch).await? {
            app.store.remove(key, ()).await?;
            swept.content += 1;
        }
    }
}
