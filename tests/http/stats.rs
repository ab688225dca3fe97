//! `GET /v1/files/{id}/stats`: downloads are counted, and never wait for it.

use serde_json::Value;
use sqlx::PgPool;
use tests::Request;

use crate::rig::wire::{Wire, listening};
use crate::rig::{File, Service, eventually, problem};

async fn downloads(service: &Service, file: &File) -> Option<u64> {
    let got = service.ask(Request::get(format!("{}/stats", file.record))).await;
    let stats: Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(stats["last_downloaded_at"].is_null(), stats["downloads"] == 0, "{stats}");
    stats["downloads"].as_u64()
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_download_counts_once_however_it_is_resumed(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    assert_eq!(downloads(&service, &file).await, Some(0));
    let get = || Request::get(&file.content);
    for (request, status) in [
        (get(), 200),
        (get().field("range", "bytes=0-1"), 206),
        (get().field("range", "bytes=2-"), 206),
        (get().field("range", "bytes=-1"), 206),
        (get().field("range", "bytes=9-"), 416),
        (get().field("if-none-match", &file.etag), 304),
        (Request::head(&file.content), 200),
        (get(), 200),
    ] {
        assert_eq!(service.ask(request).await.status, status);
    }
    eventually("three are written", async || service.app.audit.written() == 3).await;
    assert_eq!(downloads(&service, &file).await, Some(3));
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_database_that_stalls_slows_no_download_and_drops_are_counted(database: PgPool) {
    let wire = Wire::to(&database).await;
    let flags = ["--database-url", wire.url(), "--audit-queue", "4"];
    let service = Service::start(&database, &flags).await;
    listening(&database).await;
    let file = service.store("a", "hello").await;
    assert_eq!(service.ask(Request::get(&file.record)).await.status, 200);
    wire.mute(true);
    for _ in 0..50 {
        assert_eq!(service.ask(Request::get(&file.content)).await.text(), "hello");
    }
    let dropped = service.app.audit.dropped();
    assert!((40..50).contains(&dropped), "{dropped}");
    wire.mute(false);
    eventually("the rest is written", async || service.app.audit.written() == 50 - dropped).await;
    assert_eq!(downloads(&service, &file).await, Some(50 - dropped));
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_is_not_there_has_no_statistics(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let none = "/v1/files/00000000-0000-0000-0000-000000000000/stats";
    for target in [none, "/v1/files/a/stats"] {
        problem(&service.ask(Request::get(target)).await, 404, "no-such-file");
    }
    service.end().await;
}
