//! The queries on files.

use futures_core::Stream;
use futures_util::StreamExt;
use sqlx::{Error, PgExecutor};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::pool::answered;
use crate::record::{FileRecord, Row};

/// What the service knows of a new file.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// Its id, which is its content's key too.
    pub id: Uuid,
    /// 1 to 255 bytes.
    pub name: String,
    /// 1 to 255 bytes.
    pub content_type: String,
    /// In bytes.
    pub size: i64,
    /// Of the content.
    pub sha256: [u8; 32],
}

/// Inserts a record, and returns it.
///
/// # Errors
/// A constraint that is broken, or a database out of reach. See
/// [`crate::is_ambiguous`] for whether the record may exist all the same.
pub async fn insert(executor: impl PgExecutor<'_>, file: &NewFile) -> Result<FileRecord, Error> {
    let made = sqlx::query!(
        "INSERT INTO files (id, name, content_type, size, sha256)
         VALUES ($1, $2, $3, $4, $5) RETURNING revision, created_at, updated_at",
        file.id,
        file.name,
        file.content_type,
        file.size,
        &file.sha256[..],
    )
    .fetch_one(executor);
    let made = answered(made).await?;
    let NewFile { id, name, content_type, size, sha256 } = file.clone();
    let (revision, created_at, updated_at) = (made.revision, made.created_at, made.updated_at);
    Row { id, name, content_type, size, sha256, revision, created_at, updated_at }.try_into()
}

/// The record of `id`, if there is one.
///
/// # Errors
/// A database out of reach.
pub async fn get(executor: impl PgExecutor<'_>, id: Uuid) -> Result<Option<FileRecord>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id, name, content_type, size, sha256 AS "sha256: [u8; 32]", revision,
                  created_at, updated_at
           FROM files WHERE id = $1 LIMIT 1"#,
        id,
    )
    .fetch_optional(executor);
    answered(row).await?.map(FileRecord::try_from).transpose()
}

/// Up to `limit` records, newest first, of those that come after `after` in
/// this order (keyset: a record that comes or goes moves no other to another
/// page). A stream, so that how many are held is up to the caller; read it to
/// its end, or the connection has the rest to read before it is of use again. The
/// caller bounds the wait ([`answered`]).
///
/// # Errors
/// A database out of reach.
pub fn page<'e>(
    executor: impl PgExecutor<'e> + 'e,
    after: Option<Uuid>,
    limit: u16,
) -> impl Stream<Item = Result<FileRecord, Error>> + Send + 'e {
    // No id is above this one.
    let after = after.unwrap_or(Uuid::max());
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, content_type, size, sha256 AS "sha256: [u8; 32]", revision,
                  created_at, updated_at
           FROM files WHERE id < $1 ORDER BY id DESC LIMIT $2"#,
        after,
        i64::from(limit),
    )
    .fetch(executor)
    .map(|row| row.and_then(FileRecord::try_from))
}

/// Gives the record of `id` another name, if it is still at `revision` where one
/// is given; None where it is not, or is gone.
///
/// # Errors
/// A constraint that is broken, or a database out of reach.
pub async fn rename(
    executor: impl PgExecutor<'_>,
    id: Uuid,
    revision: Option<i64>,
    name: &str,
) -> Result<Option<FileRecord>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"UPDATE files
           SET name = $3, revision = revision + 1, updated_at = greatest(updated_at, now())
           WHERE id = $1 AND revision = coalesce($2, revision)
           RETURNING id, name, content_type, size, sha256 AS "sha256: [u8; 32]", revision,
                     created_at, updated_at"#,
        id,
        revision,
        name,
    )
    .fetch_optional(executor);
    answered(row).await?.map(FileRecord::try_from).transpose()
}

/// Deletes the record of `id`, if it is still at `revision` where one is given;
/// says whether it did.
///
/// # Errors
/// A database out of reach.
pub async fn delete(
    executor: impl PgExecutor<'_>,
    id: Uuid,
    revision: Option<i64>,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "DELETE FROM files WHERE id = $1 AND revision = coalesce($2, revision)",
        id,
        revision,
    )
    .execute(executor);
    Ok(answered(done).await?.rows_affected() > 0)
}

/// How often a file was downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Responses that were begun.
    pub downloads: i64,
    /// When the last one was, by the service's clock.
    pub last_downloaded_at: Option<OffsetDateTime>,
}

/// The statistics of `id`; None where there is no such file.
///
/// # Errors
/// A database out of reach.
pub async fn stats(executor: impl PgExecutor<'_>, id: Uuid) -> Result<Option<Stats>, Error> {
    let row = sqlx::query_as!(
        Stats,
        r#"SELECT coalesce(downloads, 0) AS "downloads!", last_downloaded_at AS "last_downloaded_at?"
           FROM files LEFT JOIN file_stats ON file_id = id WHERE id = $1 LIMIT 1"#,
        id,
    )
    .fetch_optional(executor);
    answered(row).await
}

/// Those of `ids` that have no record. At most as many as came in: the caller
/// bounds them.
///
/// # Errors
/// A database out of reach.
pub async fn without_record(
    executor: impl PgExecutor<'_>,
    ids: &[Uuid],
) -> Result<Vec<Uuid>, Error> {
    #[expect(clippy::disallowed_methods, reason = "at most one row an id that came in")]
    let rows = sqlx::query_scalar!(
        r#"SELECT candidate AS "candidate!" FROM unnest($1::uuid[]) AS candidate
           WHERE NOT EXISTS (SELECT FROM files WHERE files.id = candidate)"#,
        ids,
    )
    .fetch_all(executor);
    answered(rows).await
}
