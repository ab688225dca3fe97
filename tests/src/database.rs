//! Databases of a process's own, on the Postgres of `DATABASE_URL`.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// What to do where the variable is not set.
const UNSET: &str = "DATABASE_URL is not set. `cargo xtask memtest` (and `cargo xtask test`) start a \
                     private Postgres and set it; or set it to a Postgres whose role may create databases";

/// A fresh database, named after the process that it is for.
#[derive(Debug)]
pub struct Scratch {
    server: String,
    name: String,
}

impl Scratch {
    /// Creates one.
    pub async fn create() -> Result<Self> {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let server = server().context(UNSET)?;
        let (process, number) = (std::process::id(), CREATED.fetch_add(1, Ordering::Relaxed));
        let scratch = Self { server, name: format!("scratch_{process}_{number}") };
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

/// Drops what crashed or interrupted processes left. Postgres does not drop a
/// database that is in use, so that those of others stay.
pub async fn sweep() -> Result<()> {
    let Some(server) = server() else { return Ok(()) };
    let mut connection = PgConnection::connect(&server).await.context("DATABASE_URL")?;
    let names: String = sqlx::query_scalar(
        "SELECT coalesce(string_agg(datname, ' '), '') FROM pg_database
         WHERE datname ~ '^scratch_[0-9]+_[0-9]+$'",
    )
    .fetch_one(&mut connection)
    .await?;
    for name in names.split_whitespace() {
        let statement = AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name}"));
        let _ = sqlx::query(statement).execute(&mut connection).await;
    }
    connection.close().await?;
    Ok(())
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
