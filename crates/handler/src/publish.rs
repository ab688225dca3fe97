//! A record and its content appear together, or not at all.
//!
//! Content first (whole, synced, renamed), then the record: content without a
//! record is invisible, and swept; a record without content never exists.

use std::sync::Arc;

use storage::files::NewFile;
use storage::{FileRecord, files};
use streaming::StagedFile;

use crate::{App, Problem};

/// Publishes a staged file under the id of `file`.
///
/// **Cancellation**: once polled, it runs to its end in a task of its own: a
/// client that leaves between rename and insert changes nothing.
///
/// # Errors
/// 500, 503 or 507. Where the insert was refused, the content is removed. Where
/// its answer was lost, the record may exist: the content stays, and if there
/// is no record, the sweep takes it.
pub async fn publish<G: Send + 'static>(
    app: &Arc<App>,
    staged: StagedFile<G>,
    file: NewFile,
) -> Result<FileRecord, Problem> {
    let owner = app.clone();
    let task = app.tasks.spawn(async move {
        let id = file.id;
        owner.store.publish(staged, id).await?;
        match files::insert(&owner.pool, file).await {
            Ok(record) => Ok(record),
            Err(error) => {
                if storage::is_ambiguous(&error) {
                    tracing::warn!(%id, %error, "the record may exist: its content stays");
                } else {
                    owner.store.remove(id).await?;
                }
                Err(error.into())
            }
        }
    });
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "publishing did not end");
        Err(Problem::internal())
    })
}
