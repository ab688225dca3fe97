//! The cache of records: what it spares the database, and what it must not hide.

use sqlx::PgPool;
use tests::Request;
use uuid::Uuid;

use crate::rig::wire::{Wire, listening};
use crate::rig::{Service, eventually, problem};

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_was_read_once_needs_no_database(database: PgPool) {
    let mut wire = Wire::to(&database).await;
    let service = Service::start(&database, &["--database-url", wire.url()]).await;
    listening(&database).await;
    let file = service.store("a", "hello").await;
    assert_eq!(service.ask(Request::get(&file.content)).await.text(), "hello");
    wire.cut().await;
    assert_eq!(service.ask(Request::get(&file.record)).await.status, 200);
    assert_eq!(service.ask(Request::get(&file.content)).await.text(), "hello");
    wire.mend().await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_another_replica_changes_is_seen_soon(database: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let one = Service::start_in(&database, folder.path(), &["--cache-ttl", "1h"]).await;
    let other = Service::start_in(&database, folder.path(), &[]).await;
    let file = one.store("old", "hello").await;
    assert!(one.ask(Request::get(&file.record)).await.text().contains("\"old\""));
    let rename = Request::patch(&file.record, "{\"name\":\"new\"}");
    assert_eq!(other.ask(rename).await.status, 200);
    eventually("the new name is seen", async || {
        one.ask(Request::get(&file.record)).await.text().contains("\"new\"")
    })
    .await;
    assert_eq!(other.ask(Request::delete(&file.record)).await.status, 204);
    eventually("it is gone", async || one.ask(Request::get(&file.record)).await.status == 404)
        .await;
    other.end().await;
    one.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn many_who_want_one_cold_record_ask_the_database_once(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let mut lock = database.begin().await.unwrap();
    sqlx::query("LOCK TABLE files IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let mut clients = Vec::new();
    let free = service.app.requests.available_permits();
    for _ in 0..40 {
        let mut client = service.client().await;
        client.request(&Request::get(&file.record)).await.unwrap();
        clients.push(client);
    }
    eventually("all are in flight", async || service.app.requests.available_permits() <= free - 40)
        .await;
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("a query waits", async || {
        sqlx::query_scalar::<_, i64>(waiting).fetch_one(&database).await.unwrap() > 0
    })
    .await;
    let queries: i64 = sqlx::query_scalar(waiting).fetch_one(&database).await.unwrap();
    assert_eq!(queries, 1);
    lock.commit().await.unwrap();
    for mut client in clients {
        assert_eq!(client.response(false).await.unwrap().status, 200);
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn that_there_is_no_such_file_is_not_remembered(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let id = Uuid::now_v7();
    let record = format!("/v1/files/{id}");
    problem(&service.ask(Request::get(&record)).await, 404, "no-such-file");
    let insert = "INSERT INTO files (id, name, content_type, size, sha256)
                  VALUES ($1, 'a', 'b', 1, sha256('x'))";
    sqlx::query(insert).bind(id).execute(&database).await.unwrap();
    assert_eq!(service.ask(Request::get(&record)).await.status, 200);
    assert_eq!(service.ask(Request::delete(&record)).await.status, 204);
    service.end().await;
}
