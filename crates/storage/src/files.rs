//! The queries on files.

use sqlx::{Error, PgExecutor};
use time::OffsetDateTime;
use uuid::Uuid;

/// A file's record: owned values, so that it pins no row buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// Its id, which is its content's key too.
    pub id: Uuid,
    /// 1 to 255 bytes.
    pub name: String,
    /// 1 to 255 bytes.
    pub content_type: String,
    /// In bytes.
    pub size: i64,
    /// Of the content: 32 bytes.
    pub sha256: Vec<u8>,
    /// When the record was made, by the database's clock.
    pub created_at: OffsetDateTime,
}

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
pub async fn insert(executor: impl PgExecutor<'_>, file: NewFile) -> Result<FileRecord, Error> {
    let created_at = sqlx::query_scalar!(
        "INSERT INTO files (id, name, content_type, size, sha256)
         VALUES ($1, $2, $3, $4, $5) RETURNING created_at",
        file.id,
        file.name,
        file.content_type,
        file.size,
        &file.sha256[..],
    )
    .fetch_one(executor)
    .await?;
    let NewFile { id, name, content_type, size, sha256 } = file;
    Ok(FileRecord { id, name, content_type, size, sha256: sha256.to_vec(), created_at })
}

/// The record of `id`, if there is one.
///
/// # Errors
/// A database out of reach.
pub async fn get(executor: impl PgExecutor<'_>, id: Uuid) -> Result<Option<FileRecord>, Error> {
    sqlx::query_as!(
        FileRecord,
        "SELECT id, name, content_type, size, sha256, created_at
         FROM files WHERE id = $1 LIMIT 1",
        id,
    )
    .fetch_optional(executor)
    .await
}

/// Deletes the record of `id`, and says whether there was one.
///
/// # Errors
/// A database out of reach.
pub async fn delete(executor: impl PgExecutor<'_>, id: Uuid) -> Result<bool, Error> {
    let done = sqlx::query!("DELETE FROM files WHERE id = $1", id).execute(executor).await?;
    Ok(done.rows_affected() > 0)
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
    sqlx::query_scalar!(
        r#"SELECT candidate AS "candidate!" FROM unnest($1::uuid[]) AS candidate
           WHERE NOT EXISTS (SELECT FROM files WHERE files.id = candidate)"#,
        ids,
    )
    .fetch_all(executor)
    .await
}
