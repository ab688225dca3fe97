//! `DELETE /v1/files/{id}`: the record goes, and its content.

use std::fs;

use sqlx::PgPool;
use tests::Request;

use crate::rig::{Service, problem};

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_is_deleted_is_gone(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let (file, other) = (service.store("a", "hello").await, service.store("a", "other").await);
    let deleted = service.ask(Request::delete(&file.record)).await;
    assert_eq!((deleted.status, deleted.text().as_str()), (204, ""));
    assert_eq!(deleted.field("content-length"), None);
    for request in
        [Request::get(&file.record), Request::get(&file.content), Request::delete(&file.record)]
    {
        problem(&service.ask(request).await, 404, "no-such-file");
    }
    assert_eq!(service.contents(), [other.id.to_string()].into());
    assert_eq!(service.ask(Request::get(&other.content)).await.text(), "other");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_was_never_there_cannot_be_deleted(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for id in [uuid::Uuid::nil().to_string().as_str(), "x", "..", "..%2Fstaging"] {
        let answer = service.ask(Request::delete(format!("/v1/files/{id}"))).await;
        problem(&answer, 404, "no-such-file");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn of_many_deletes_at_once_one_succeeds(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let delete = || service.ask(Request::delete(&file.record));
    let (a, b, c, d) = tokio::join!(delete(), delete(), delete(), delete());
    let mut statuses = [a, b, c, d].map(|answer| answer.status);
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 404, 404, 404]);
    service.end().await;
}

/// Content that is being removed holds a place until it is gone, whoever has left.
#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn one_removal_too_many_is_refused_and_the_place_comes_back(database: PgPool) {
    let service = Service::start(&database, &["--max-requests", "4"]).await;
    let file = service.store("a", "hello").await;
    let removals = service.app.removals.clone();
    let held = [(); 4].map(|()| removals.clone().try_acquire_owned().unwrap());
    problem(&service.ask(Request::delete(&file.record)).await, 503, "busy");
    assert_eq!(service.ask(Request::get(&file.content)).await.text(), "hello");
    drop(held);
    assert_eq!(service.ask(Request::delete(&file.record)).await.status, 204);
    assert_eq!(removals.available_permits(), 4);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn content_that_cannot_be_removed_does_not_keep_its_record(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    // A folder in the place of the content: it can't be unlinked.
    let path = service.content_of(&file);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(service.ask(Request::delete(&file.record)).await.status, 204);
    problem(&service.ask(Request::get(&file.record)).await, 404, "no-such-file");
    fs::remove_dir(&path).unwrap();
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_delete_of_another_state_is_refused(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let etag = service.ask(Request::get(&file.record)).await.field("etag").unwrap().to_owned();
    let weak = format!("W/{etag}");
    for (name, value) in [
        ("if-match", weak.as_str()),
        ("if-none-match", &weak),
        ("if-match", "\"other\""),
        // The content's, not the record's.
        ("if-match", &file.etag),
        ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("if-none-match", "*"),
        ("if-none-match", &etag),
    ] {
        let delete = Request::delete(&file.record).field(name, value);
        problem(&service.ask(delete).await, 412, "precondition-failed");
    }
    let this = Request::delete(&file.record).field("if-match", &etag);
    assert_eq!(service.ask(this.clone()).await.status, 204);
    problem(&service.ask(this).await, 404, "no-such-file");
    service.end().await;
}
