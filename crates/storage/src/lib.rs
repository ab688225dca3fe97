//! Rows: a pool of Postgres connections with every bound set on purpose, the
//! queries on files, and what stands before and behind them.
//!
//! - [`pool`]: connections, statements, kept buffers, waits;
//! - [`files`]: the queries; [`record`]: what a row becomes;
//! - [`cache`]: bounded in bytes; [`records`]: records through it;
//! - [`audit`]: events on their way to the database.
//!
//! This crate knows no other crate of the workspace. Queries take an executor,
//! so that they work on the pool and inside a transaction alike.

pub mod audit;
pub mod cache;
pub mod files;
pub mod pool;
pub mod record;
pub mod records;

pub use audit::AuditQueue;
pub use cache::{BoundedCache, CacheSettings, LoadError};
pub use pool::PoolSettings;
pub use record::FileRecord;
pub use records::Records;
pub use sqlx::pool::PoolConnection;
pub use sqlx::{Error, PgExecutor, PgPool, Postgres};

use crate::pool::answered;

/// The migrations of `migrations/`, compiled in.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// Applies what is missing. A database of a newer version stays as it is: an older
/// one that is rolled back to goes on with it.
///
/// # Errors
/// A migration that fails or has changed since, a database out of reach.
pub async fn migrate(pool: &PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    let mut migrator = sqlx::migrate::Migrator::with_migrations(MIGRATOR.migrations.to_vec());
    migrator.set_ignore_missing(true);
    let mut connection = pool.acquire().await?;
    // A change to a large table takes its time; who waits can see it, and stop.
    sqlx::query("SET statement_timeout = 0").execute(&mut *connection).await?;
    migrator.run(&mut *connection).await
}

/// Whether every migration that this build knows has been applied. A newer
/// database is fine: migrations expand before they contract.
///
/// # Errors
/// Where the database can't be asked.
pub async fn is_migrated(pool: &PgPool) -> Result<bool, Error> {
    let newest = MIGRATOR.iter().map(|migration| migration.version).max();
    // Not a checked query: the table is the migrator's, and may not be there.
    let query = "SELECT max(version) FROM _sqlx_migrations WHERE success LIMIT 1";
    let applied: Option<Option<i64>> =
        match answered(sqlx::query_scalar(query).fetch_optional(pool)).await {
            Err(Error::Database(error)) if error.code().as_deref() == Some("42P01") => None,
            other => other?,
        };
    Ok(applied.flatten() >= newest)
}

/// Which database this is: made with it, and kept by whatever is restored from it.
///
/// # Errors
/// Where the database can't be asked, or is not migrated.
pub async fn identity(pool: &PgPool) -> Result<uuid::Uuid, Error> {
    answered(sqlx::query_scalar!("SELECT id FROM identity LIMIT 1").fetch_one(pool)).await
}

/// Asks the database for nothing, to see that it answers.
///
/// # Errors
/// A database out of reach, or no connection free in time.
pub async fn ping(pool: &PgPool) -> Result<(), Error> {
    sqlx::query("SELECT 1").execute(pool).await.map(drop)
}

/// Whether the database itself is out of reach or busy, rather than the query
/// wrong: the caller answers 503, and the client may come again.
#[must_use]
pub fn is_unavailable(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::PoolTimedOut | Error::PoolClosed | Error::Tls(_) => true,
        // 57: operator intervention (shutdown, statement timeout); 53: out of
        // resources (too many connections, disk full); 08: connection lost; 25006:
        // read-only, a standby that has not taken over yet.
        Error::Database(error) => error.code().is_some_and(|code| {
            ["57", "53", "08", "25006"].iter().any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}

/// The constraint that a statement broke, by its name in the migrations: each has
/// a 4xx of its own.
#[must_use]
pub fn broken_constraint(error: &Error) -> Option<&str> {
    match error {
        Error::Database(error) => error.constraint(),
        _ => None,
    }
}

/// Whether a failed statement may have taken effect all the same: its answer
/// was lost, or the server ended the connection while answering.
#[must_use]
pub fn is_ambiguous(error: &Error) -> bool {
    match error {
        Error::PoolTimedOut | Error::PoolClosed => false,
        Error::Database(error) => {
            error.code().is_none_or(|code| code.starts_with("57P") || code.starts_with("08"))
        }
        _ => true,
    }
}
