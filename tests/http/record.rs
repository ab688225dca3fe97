//! `GET /v1/files/{id}`: the record.

use sqlx::PgPool;
use tests::Request;

use crate::rig::Service;

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_record_has_a_strong_etag_of_its_own(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let (one, other) = (service.store("a", "same").await, service.store("a", "same").await);
    let record = service.ask(Request::get(&one.record)).await;
    assert_eq!(record.field("content-type"), Some("application/json"));
    let etag = record.field("etag").unwrap();
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 30, "{etag}");
    assert_eq!(service.ask(Request::get(&one.record)).await.field("etag"), Some(etag));
    // The same content has the same tag; its records differ.
    assert_eq!(one.etag, other.etag);
    assert_ne!(service.ask(Request::get(&other.record)).await.field("etag"), Some(etag));
    assert_ne!(etag, one.etag);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn head_tells_of_the_record_without_it(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let get = service.ask(Request::get(&file.record)).await;
    let head = service.ask(Request::head(&file.record)).await;
    assert_eq!((head.status, head.text().as_str()), (200, ""));
    assert_eq!(head.field("etag"), get.field("etag"));
    assert_eq!(head.field("content-length"), get.field("content-length"));
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn an_id_is_known_in_either_case(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let upper = format!("/v1/files/{}", file.id.to_string().to_uppercase());
    assert_eq!(service.ask(Request::get(upper)).await.status, 200);
    service.end().await;
}
