//! The pool: connections, statements, kept buffers and waits, all bounded.

use std::io;
use std::str::FromStr;
use std::time::Duration;

use futures_util::FutureExt;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Error, PgPool};

/// Prepared statements kept a connection, here and in its backend. The service
/// has fewer queries than this, so it never evicts; sqlx's default of 100 lets
/// a query that varies (a growing IN list) cost the backend 20 MiB.
pub const STATEMENTS: usize = 32;

/// The longest that Postgres works on one statement; then it is an error, and
/// the client is told 503. No query of the service needs a hundredth of it.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest that a caller waits for a connection and an answer together: more
/// than Postgres may work on a statement, so that its own word comes first. It is
/// for a database that says nothing at all (stopped, or cut off without a sign):
/// no timeout of its own is heard of then. Held by `faults` database.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest wait for the ping of a connection that comes back to the pool. A
/// caller that has left in the middle of a query leaves the rest of the answer to
/// it; one that does not answer is closed, and its place is free.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that has answered the ping of its release so shortly ago is not asked
/// again before its next use: an export takes one afresh for each query. One that dies
/// meanwhile fails its query, and the client is told 503; one that died before is
/// replaced unseen. Held by `tests/http`: database.
pub const FRESH: Duration = Duration::from_secs(1);

/// A connection that has been unused for this long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// A connection is renewed at this age: what its backend gathers goes with it.
const MAX_LIFETIME: Duration = Duration::from_secs(1800);

/// The heap that one pooled connection may hold between queries, in bytes: its
/// buffers at their least (8 KiB each way), the statements and their columns. With
/// every query of the service prepared, 23.5 KiB were measured. During a query the
/// largest row comes on top: names and types of at most 255 bytes here. Held by
/// the memory test `pool`.
#[must_use]
pub const fn cost() -> usize {
    32 * 1024
}

/// What bounds the pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    /// Connections at most.
    pub connections: u32,
    /// The longest wait for one; then [`Error::PoolTimedOut`].
    pub acquire_timeout: Duration,
}

/// Connects one connection, to see that it works; more come as they are needed.
///
/// # Errors
/// A URL that is none, or a database that can't be reached in
/// `settings.acquire_timeout`: with what kept it from being reached, where the
/// pool would only say that it has waited.
pub async fn connect(url: &str, settings: PoolSettings) -> Result<PgPool, Error> {
    let options = PgConnectOptions::from_str(url)?
        .application_name("server")
        .statement_cache_capacity(STATEMENTS)
        .options([("statement_timeout", STATEMENT_TIMEOUT.as_millis().to_string())]);
    let first = tokio::time::timeout(settings.acquire_timeout, options.connect()).await;
    first.map_err(|_| Error::PoolTimedOut)??.close().await?;
    PgPoolOptions::new()
        .max_connections(settings.connections)
        .min_connections(0)
        .acquire_timeout(settings.acquire_timeout)
        .idle_timeout(IDLE_TIMEOUT)
        .max_lifetime(MAX_LIFETIME)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > FRESH {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        // The read buffer keeps the size of the largest row ever read. The
        // shrink takes effect with the ping.
        .after_release(|connection, _| {
            Box::pin(async move {
                connection.shrink_buffers();
                // The pool's own ping, which comes next, waits for ever.
                let answer = tokio::time::timeout(RELEASE_TIMEOUT, connection.ping()).await;
                answer.map_err(|_| silent())?.map(|()| true)
            })
        })
        .connect_with(options)
        .await
}

/// Waits for a query no longer than [`ANSWER_TIMEOUT`].
///
/// # Errors
/// The query's, or that of a connection that has timed out: whether the statement
/// took effect is not known then.
pub fn answered<T>(
    query: impl Future<Output = Result<T, Error>>,
) -> impl Future<Output = Result<T, Error>> {
    // Not an async function, which would hold the query twice over.
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, query);
    answer.map(|answer| answer.unwrap_or_else(|_| Err(silent())))
}

fn silent() -> Error {
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database does not answer"))
}
