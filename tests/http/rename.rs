//! `PATCH /v1/files/{id}`: another name.

use sqlx::PgPool;
use tests::{Request, Response};

use crate::rig::{File, Service, problem};

const PAST: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const FUTURE: &str = "Fri, 31 Dec 2100 23:59:59 GMT";

fn rename(file: &File, name: &str) -> Request {
    Request::patch(&file.record, serde_json::json!({ "name": name }).to_string())
}

async fn etag(service: &Service, file: &File) -> String {
    service.ask(Request::get(&file.record)).await.field("etag").unwrap().to_owned()
}

fn name(response: &Response) -> String {
    let record: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    record["name"].as_str().unwrap().to_owned()
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn the_answer_is_the_record_with_its_new_tag(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("old", "hello").await;
    let old = etag(&service, &file).await;
    let renamed = service.ask(rename(&file, "new")).await;
    assert_eq!((renamed.status, name(&renamed).as_str()), (200, "new"));
    let new = renamed.field("etag").unwrap();
    assert_ne!(new, old);
    let got = service.ask(Request::get(&file.record)).await;
    assert_eq!((&got.body, got.field("etag")), (&renamed.body, Some(new)));
    // Who has the old record is sent the new one.
    let stale = service.ask(Request::get(&file.record).field("if-none-match", &old)).await;
    assert_eq!((stale.status, name(&stale).as_str()), (200, "new"));
    let fresh = service.ask(Request::get(&file.record).field("if-none-match", new)).await;
    assert_eq!(fresh.status, 304);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn the_content_stays_what_it_was_under_its_new_name(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("old", "hello").await;
    let before = service.ask(Request::get(&file.content)).await;
    assert_eq!(service.ask(rename(&file, "new")).await.status, 200);
    let after = service.ask(Request::get(&file.content)).await;
    for field in ["etag", "last-modified", "repr-digest", "content-type"] {
        assert_eq!(before.field(field), after.field(field), "{field}");
    }
    assert_eq!(after.body, before.body);
    assert_eq!(after.field("content-disposition"), Some("attachment; filename=\"new\""));
    let have = Request::get(&file.content).field("if-none-match", &file.etag);
    assert_eq!(service.ask(have).await.status, 304);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_condition_that_holds_lets_the_rename_through(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let list = format!("\"x\", {}", etag(&service, &file).await);
    for (index, (field, value)) in [
        ("if-match", list.as_str()),
        ("if-match", "*"),
        ("if-none-match", "\"x\""),
        ("if-unmodified-since", FUTURE),
    ]
    .into_iter()
    .enumerate()
    {
        let new = format!("name {index}");
        let renamed = service.ask(rename(&file, &new).field(field, value)).await;
        assert_eq!(renamed.status, 200, "{field}: {value}");
        assert_eq!(name(&service.ask(Request::get(&file.record)).await), new);
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_rename_of_another_state_is_refused(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let stale = etag(&service, &file).await;
    service.ask(rename(&file, "b")).await;
    let own = etag(&service, &file).await;
    let weak = format!("W/{own}");
    for (field, value) in [
        ("if-match", stale.as_str()),
        ("if-match", &weak),
        ("if-match", &file.etag),
        ("if-none-match", &own),
        ("if-none-match", &weak),
        ("if-none-match", "*"),
        ("if-unmodified-since", PAST),
    ] {
        let answer = service.ask(rename(&file, "c").field(field, value)).await;
        problem(&answer, 412, "precondition-failed");
    }
    assert_eq!(name(&service.ask(Request::get(&file.record)).await), "b");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn of_two_renames_at_once_one_is_told_that_it_came_second(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for _ in 0..20 {
        let file = service.store("a", "hello").await;
        let seen = etag(&service, &file).await;
        let ask = |new| service.ask(rename(&file, new).field("if-match", &seen));
        let (one, other) = tokio::join!(ask("one"), ask("other"));
        let mut answers = [one, other];
        answers.sort_by_key(|answer| answer.status);
        assert_eq!(answers[0].status, 200, "{}", answers[0].text());
        problem(&answers[1], 412, "precondition-failed");
        let got = service.ask(Request::get(&file.record)).await;
        assert_eq!(got.body, answers[0].body);
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_new_name_keeps_the_rules_of_names(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let long = "x".repeat(256);
    for new in ["", ".", "..", "../evil", "a/b", "a\\b", "a\nb", "a\0", "exe.\u{202e}txt", &long] {
        let detail = problem(&service.ask(rename(&file, new)).await, 422, "invalid");
        assert!(detail.starts_with("name: "), "{detail}");
    }
    assert_eq!(name(&service.ask(Request::get(&file.record)).await), "a");
    service.end().await;
}

/// Two names that look the same may be two files' on a client's disk: neither is
/// turned into the other.
#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_name_is_kept_as_it_is_composed(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    for (composed, coded) in [("e\u{301}", "e%CC%81"), ("\u{e9}", "%C3%A9")] {
        let renamed = service.ask(rename(&file, composed)).await;
        assert_eq!(name(&renamed), composed);
        let got = service.ask(Request::get(&file.content)).await;
        let disposition = got.field("content-disposition").unwrap();
        assert!(disposition.ends_with(&format!("filename*=UTF-8''{coded}")), "{disposition}");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_is_not_there_cannot_be_renamed(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    service.ask(Request::delete(&file.record)).await;
    let none = "/v1/files/00000000-0000-0000-0000-000000000000";
    for target in [&file.record, none, "/v1/files/a"] {
        let request = Request::patch(target, "{\"name\":\"b\"}");
        problem(&service.ask(request.clone()).await, 404, "no-such-file");
        problem(&service.ask(request.field("if-match", "*")).await, 404, "no-such-file");
    }
    service.end().await;
}
