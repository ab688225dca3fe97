//! Records and their content appear together, or not at all.
//!
//! Content first (whole, synced, renamed), then the records: content without a
//! record is invisible, and swept; a record without content never exists.

use std::sync::Arc;

use storage::files::NewFile;
use storage::pool::answered;
use storage::{Error, FileRecord, PgPool, files};
use streaming::StagedFile;
use tracing::Instrument;

use crate::{App, Problem};

/// Publishes staged files, each under the id of its [`NewFile`]: all of them, or
/// none. The caller bounds how many.
///
/// **Cancellation**: once polled, it runs to its end in a task of its own: a
/// client that leaves between rename and insert changes nothing.
///
/// # Errors
/// 500, 503 or 507. Where the insert was refused, the content is removed. Where
/// its answer was lost, the records may exist: the content stays, and if there
/// are no records, the sweep takes it.
pub async fn publish<G: Send + Sync + 'static>(
    app: &Arc<App>,
    staged: Vec<(StagedFile<G>, NewFile)>,
) -> Result<Vec<FileRecord>, Problem> {
    let owner = app.clone();
    let publishing = async move {
        let mut new = Vec::with_capacity(staged.len());
        // What paid for the upload pays for this too: a database that hangs must
        // not gather tasks whose clients have left.
        let mut guards = Vec::with_capacity(staged.len());
        for (file, record) in staged {
            match owner.store.publish(file, record.id).await {
                Ok(guard) => guards.push(guard),
                Err(error) => {
                    take_back(&owner, &new).await;
                    return Err(error.into());
                }
            }
            new.push(record);
        }
        match insert(&owner.pool, &new).await {
            Ok(records) => Ok(records),
            Err(error) => {
                if storage::is_ambiguous(&error) {
                    tracing::warn!(%error, "records may exist: their content stays");
                } else {
                    take_back(&owner, &new).await;
                }
                Err(error.into())
            }
        }
    };
    let task = app.tasks.spawn(publishing.in_current_span());
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "publishing did not end");
        Err(Problem::internal())
    })
}

async fn insert(pool: &PgPool, new: &[NewFile]) -> Result<Vec<FileRecord>, Error> {
    if let [one] = new {
        return Ok(vec![files::insert(pool, one).await?]);
    }
    let mut transaction = answered(pool.begin()).await?;
    let mut records = Vec::with_capacity(new.len());
    for file in new {
        records.push(files::insert(&mut *transaction, file).await?);
    }
    answered(transaction.commit()).await?;
    Ok(records)
}

/// Removes content that has no record, as far as it can: the sweep does the rest.
async fn take_back(app: &App, new: &[NewFile]) {
    for NewFile { id, .. } in new {
        if let Err(error) = app.store.remove(*id, ()).await {
            tracing::warn!(%id, %error, "content without a record stays until the sweep");
        }
    }
}
