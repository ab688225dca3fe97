//! A database that is gone, or whose answers are lost.

use std::time::Duration;

use sqlx::{Connection as _, PgPool};
use tests::Request;

use crate::rig::wire::Wire;
use crate::rig::{Service, eventually, problem, routes};

const POST: &str = "/v1/files?name=a";

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn without_its_database_the_service_says_later_and_keeps_nothing(database: PgPool) {
    let mut wire = Wire::to(&database).await;
    let flags = ["--database-url", wire.url(), "--pool-timeout", "500ms"];
    let service = Service::start(&database, &flags).await;
    let file = service.store("a", "hello").await;
    wire.cut().await;
    for request in routes::requests(file.id) {
        problem(&service.ask(request).await, 503, "unavailable");
    }
    let head = service.ask(Request::head(&file.content)).await;
    assert_eq!((head.status, head.field("retry-after")), (503, Some("1")));
    assert_eq!(service.contents(), [file.id.to_string()].into());
    wire.mend().await;
    assert_eq!(service.ask(Request::get(&file.content)).await.text(), "hello");
    service.store("a", "hello").await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn who_finds_no_database_connection_in_time_is_told_later(database: PgPool) {
    let flags = ["--pool-connections", "1", "--pool-timeout", "200ms"];
    let service = Service::start(&database, &flags).await;
    let file = service.store("a", "hello").await;
    let held = service.app.pool.acquire().await.unwrap();
    for request in routes::requests(file.id) {
        problem(&service.ask(request).await, 503, "unavailable");
    }
    drop(held);
    assert_eq!(service.ask(Request::get(&file.record)).await.status, 200);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_connection_keeps_few_statements_and_each_has_a_deadline(database: PgPool) {
    let service = Service::start(&database, &["--pool-connections", "1"]).await;
    let mut connection = service.app.pool.acquire().await.unwrap();
    for number in 0..2 * storage::pool::STATEMENTS {
        let text = format!("SELECT {number} LIMIT 1");
        let query = sqlx::query_scalar::<_, i32>(sqlx::AssertSqlSafe(text));
        query.fetch_one(&mut *connection).await.unwrap();
    }
    assert_eq!(connection.cached_statements_size(), storage::pool::STATEMENTS);
    let query = sqlx::query_scalar::<_, String>("SHOW statement_timeout");
    assert_eq!(query.fetch_one(&mut *connection).await.unwrap(), "10s");
    drop(connection);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_connection_that_died_unused_is_replaced_before_its_use(database: PgPool) {
    let mut wire = Wire::to(&database).await;
    let service = Service::start(&database, &["--database-url", wire.url()]).await;
    let file = service.store("a", "hello").await;
    wire.cut().await;
    wire.mend().await;
    tokio::time::sleep(storage::pool::FRESH + Duration::from_millis(100)).await;
    assert_eq!(service.ask(Request::get("/v1/files")).await.status, 200);
    assert_eq!(service.ask(Request::get(&file.content)).await.text(), "hello");
    service.end().await;
}

/// As where a firewall has forgotten them: nothing comes, and nothing says that it
/// won't.
#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_connection_that_has_gone_silent_gives_its_place_back(database: PgPool) {
    let wire = Wire::to(&database).await;
    let url = wire.url();
    let flags = ["--database-url", url, "--pool-connections", "1", "--pool-timeout", "10s"];
    let service = Service::start(&database, &flags).await;
    service.store("a", "hello").await;
    // A client leaves in the middle of a query.
    let mut lock = database.begin().await.unwrap();
    sqlx::query("LOCK TABLE files IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let mut client = service.client().await;
    client.request(&Request::get("/v1/files")).await.unwrap();
    waits_for_lock(&database).await;
    wire.strand();
    drop(client);
    lock.commit().await.unwrap();
    // There is one place, and what has it is asked in vain whether it is still there.
    assert_eq!(service.ask(Request::get("/v1/files")).await.status, 200);
    service.end().await;
}

async fn waits_for_lock(database: &PgPool) {
    eventually("a query waits", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        sqlx::query_scalar::<_, i64>(waiting).fetch_one(database).await.unwrap() == 1
    })
    .await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_record_whose_answer_was_lost_keeps_its_content(database: PgPool) {
    let mut wire = Wire::to(&database).await;
    let flags = ["--database-url", wire.url(), "--pool-connections", "1"];
    let service = Service::start(&database, &flags).await;
    // From here on the insert is prepared: it is one step for the database.
    service.store("a", "hello").await;
    let mut client = service.client().await;
    client.request(&Request::post(POST, "hello").body("hell")).await.unwrap();
    eventually("it has come", async || service.staged() == 1).await;
    // The record is made, and the service is not told.
    let lost = lose_answer_of_insert(&database, &wire, &service, &mut client).await;
    wire.cut().await;
    problem(&client.response(false).await.unwrap(), 503, "unavailable");
    wire.mute(false);
    wire.mend().await;
    let got = service.ask(Request::get(format!("/v1/files/{lost}/content"))).await;
    assert_eq!(got.text(), "hello");
    service.end().await;
}

/// Holds the insert up by a lock, mutes the wire, lets the insert through, and
/// returns the id of the new record.
async fn lose_answer_of_insert(
    database: &PgPool,
    wire: &Wire,
    service: &Service,
    client: &mut tests::Client,
) -> String {
    let before = service.records().await;
    let mut lock = database.begin().await.unwrap();
    sqlx::query("LOCK TABLE files IN SHARE MODE").execute(&mut *lock).await.unwrap();
    client.send("o").await.unwrap();
    waits_for_lock(database).await;
    wire.mute(true);
    lock.commit().await.unwrap();
    eventually("the record is made", async || service.records().await.len() == 2).await;
    service.records().await.difference(&before).next().unwrap().clone()
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn an_insert_that_never_came_leaves_content_to_the_sweep(database: PgPool) {
    let mut wire = Wire::to(&database).await;
    let flags = ["--database-url", wire.url(), "--pool-connections", "1"];
    let service = Service::start(&database, &flags).await;
    service.store("a", "hello").await;
    // The connection breaks while the insert waits for its turn.
    let mut lock = database.begin().await.unwrap();
    sqlx::query("LOCK TABLE files IN SHARE MODE").execute(&mut *lock).await.unwrap();
    let mut client = service.client().await;
    client.request(&Request::post(POST, "hello")).await.unwrap();
    eventually("its content is in place", async || service.contents().len() == 2).await;
    wire.cut().await;
    problem(&client.response(false).await.unwrap(), 503, "unavailable");
    wire.mend().await;
    lock.commit().await.unwrap();
    // The statement may still go through: whichever it is, both or neither.
    eventually("content and records agree", async || {
        handler::sweep::sweep(&service.app, Duration::ZERO).await.unwrap();
        service.contents() == service.records().await
    })
    .await;
    service.end().await;
}
