//! A database of the test's own, beside the one that DATABASE_URL names.

use anyhow::{Context as _, Result};
use sqlx::{Connection as _, PgConnection};

/// Runs `variant` on a new database, with the service's tables, and drops it.
pub async fn with<T>(variant: impl AsyncFnOnce(&str) -> Result<T>) -> Result<T> {
    let admin = std::env::var("DATABASE_URL");
    let admin = admin.context("DATABASE_URL: this test needs a Postgres")?;
    let name = format!("taken_{}", uuid::Uuid::new_v4().simple());
    execute(&admin, &format!("CREATE DATABASE {name}")).await?;
    let (base, query) = admin.split_once('?').map_or((&*admin, ""), |(base, query)| (base, query));
    let server = base.rsplit_once('/').map_or(base, |(server, _)| server);
    let url = format!("{server}/{name}?{query}");
    let result = match migrate(&url).await {
        Ok(()) => variant(&url).await,
        Err(error) => Err(error),
    };
    execute(&admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await?;
    result
}

async fn migrate(url: &str) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::migrate!().run(&mut connection).await.context("migrating")?;
    Ok(connection.close().await?)
}

async fn execute(url: &str, statement: &str) -> Result<()> {
    let mut connection = PgConnection::connect(url).await.context("DATABASE_URL")?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut connection).await?;
    Ok(connection.close().await?)
}
