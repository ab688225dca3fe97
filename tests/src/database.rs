//! Databases of a process's own, on the Postgres of `DATABASE_URL`.

use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Context as _, Result};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// What to do where the variable is not set.
const UNSET: &str = "DATABASE_URL is not set. `cargo xtask memtest` (and `cargo xtask test`) start a \
                     private Postgres and set it; or set it to a Postgres whose role may create databases";

/// A fresh database, named after the process that it is for.
///
/// As long as it is held, so is a lock of its name (an advisory one, in the database
/// of `DATABASE_URL`), from before it is created. Postgres frees it with the
/// connection, however the process ends. That tells what is in use, between creating
/// and connecting too; the process id does not: it comes again, and another container
/// has the same ones.
#[derive(Debug)]
pub struct Scratch {
    server: String,
    name: String,
    /// Which holds the lock, and does nothing else: a runtime that has stopped may
    /// have opened it.
    _lock: PgConnection,
}

impl Scratch {
    /// Creates one.
    pub async fn create() -> Result<Self> {
        static CREATED: AtomicI32 = AtomicI32::new(0);
        let server = server().context(UNSET)?;
        let mut connection = PgConnection::connect(&server).await.context("DATABASE_URL")?;
        let process = std::process::id().cast_signed();
        let number = loop {
            let number = CREATED.fetch_add(1, Ordering::Relaxed);
            // Taken where a process in another container has our id: the next one, then.
            if lock(&mut connection, process, number).await? {
                break number;
            }
        };
        let name = format!("scratch_{process}_{number}");
        let scratch = Self { server, name, _lock: connection };
        // Of one who had our id before, and is no more: the lock is ours.
        scratch.execute("DROP DATABASE IF EXISTS", "").await?;
        scratch.execute("CREATE DATABASE", "").await.context("creating a database for the case")?;
        Ok(scratch)
    }

    /// Its URL: the variable's, with another database.
    pub fn url(&self) -> String {
        with_database(&self.server, &self.name)
    }

    /// Drops it, and whoever is still connected.
    pub async fn drop(self) -> Result<()> {
        self.execute("DROP DATABASE", "WITH (FORCE)").await.context("dropping the case's database")
    }

    async fn execute(&self, command: &str, option: &str) -> Result<()> {
        let mut connection = PgConnection::connect(&self.server).await.context("DATABASE_URL")?;
        // The name is ours: letters, digits and an underscore.
        let statement = AssertSqlSafe(format!("{command} {} {option}", self.name));
        sqlx::query(statement).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }
}

/// Drops what crashed or interrupted processes left. Those whose lock is held stay:
/// how many, it returns.
/// (Those of another who has another database in his `DATABASE_URL`, where his locks
/// are, stay as long as he is connected to them: Postgres does not drop what is in use.)
pub async fn sweep() -> Result<usize> {
    let Some(server) = server() else { return Ok(0) };
    let mut connection = PgConnection::connect(&server).await.context("DATABASE_URL")?;
    let names: String = sqlx::query_scalar(
        "SELECT coalesce(string_agg(datname, ' '), '') FROM pg_database
         WHERE datname ~ '^scratch_[0-9]+_[0-9]+$'",
    )
    .fetch_one(&mut connection)
    .await?;
    let mut in_use = 0;
    for name in names.split_whitespace() {
        let mut numbers = name.split('_').skip(1).map(str::parse::<i32>);
        let (Some(Ok(process)), Some(Ok(number))) = (numbers.next(), numbers.next()) else {
            continue;
        };
        if lock(&mut connection, process, number).await? {
            let statement = AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name}"));
            // Postgres waits 5 s for who is still connected, and then refuses.
            let dropped = sqlx::query(statement).execute(&mut connection).await;
            in_use += usize::from(dropped.is_err());
            let unlock = sqlx::query("SELECT pg_advisory_unlock($1, $2)");
            unlock.bind(process).bind(number).execute(&mut connection).await?;
        } else {
            in_use += 1;
        }
    }
    connection.close().await?;
    Ok(in_use)
}

/// Locks `scratch_{process}_{number}` until the connection ends, unless another has.
async fn lock(connection: &mut PgConnection, process: i32, number: i32) -> Result<bool> {
    let lock = sqlx::query_scalar("SELECT pg_try_advisory_lock($1, $2)");
    Ok(lock.bind(process).bind(number).fetch_one(connection).await?)
}

fn server() -> Option<String> {
    std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty())
}

/// `scheme://authority/database?options`, with another database.
fn with_database(url: &str, name: &str) -> String {
    let (before, options) =
        url.split_once('?').map_or((url, None), |(url, options)| (url, Some(options)));
    let authority = before.find("://").map_or(0, |at| at + 3);
    let end = before[authority..].find('/').map_or(before.len(), |at| authority + at);
    let options = options.map_or_else(String::new, |options| format!("?{options}"));
    format!("{}/{name}{options}", &before[..end])
}
