//! `GET /v1/files`: the records, a page at a time.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;

use axum::body::Body;
use handler::routes::routes;
use http_body::Body as _;
use serde_json::Value;
use sqlx::PgPool;
use tests::Request;
use tower::ServiceExt as _;

use crate::rig::{Service, problem, rows};

/// A page: its records' ids, and where the next one is.
async fn page(service: &Service, target: &str) -> (Vec<String>, Option<String>) {
    let got = service.ask(Request::get(target)).await;
    assert_eq!(got.status, 200, "{}", got.text());
    assert_eq!(got.field("content-type"), Some("application/json"));
    let page: Value = serde_json::from_slice(&got.body).unwrap();
    let files = page["files"].as_array().unwrap().iter();
    let ids = files.map(|file| file["id"].as_str().unwrap().to_owned()).collect();
    let link = got.field("link").map(|link| {
        let target = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
        target.unwrap_or_else(|| panic!("{link}")).to_owned()
    });
    // Both say the same, or neither says anything.
    let after = link.as_ref().and_then(|link| Some(link.split_once("after=")?.1));
    assert_eq!(page.get("next").and_then(Value::as_str), after);
    (ids, link)
}

/// All pages from `target` on; `between` runs after each.
async fn walk(service: &Service, target: &str, mut between: impl AsyncFnMut()) -> Vec<Vec<String>> {
    let (mut pages, mut next) = (Vec::new(), Some(target.to_owned()));
    while let Some(target) = next.take() {
        let (ids, link) = page(service, &target).await;
        pages.push(ids);
        next = link;
        between().await;
    }
    pages
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn the_newest_file_comes_first_and_each_is_its_record(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let old = service.store("old", "1").await;
    let new = service.store("new", "2").await;
    let got = service.ask(Request::get("/v1/files")).await;
    let listed: Value = serde_json::from_slice(&got.body).unwrap();
    for (index, file) in [new, old].iter().enumerate() {
        let record = service.ask(Request::get(&file.record)).await;
        let record: Value = serde_json::from_slice(&record.body).unwrap();
        assert_eq!(listed["files"][index], record);
    }
    let head = service.ask(Request::head("/v1/files")).await;
    assert_eq!((head.status, head.text().as_str()), (200, ""));
    assert_eq!(head.field("content-length"), got.field("content-length"));
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn without_files_there_is_one_empty_page(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let got = service.ask(Request::get("/v1/files")).await;
    assert_eq!((got.text().as_str(), got.field("link")), ("{\"files\":[]}", None));
    let nil = "/v1/files?after=00000000-0000-0000-0000-000000000000";
    assert_eq!(page(&service, nil).await, (vec![], None));
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_list_that_cannot_be_is_refused(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for limit in ["0", "101", "70000", "4294967297", "18446744073709551615"] {
        let answer = service.ask(Request::get(format!("/v1/files?limit={limit}"))).await;
        assert_eq!(problem(&answer, 422, "invalid"), "limit: 1 to 100", "{limit}");
    }
    for query in [
        "limit=abc",
        "limit=-1",
        "limit=1.5",
        "limit=",
        "limit=1&limit=2",
        "after=abc",
        "after=",
        "after=1",
        "offset=1",
        "limit=1&page=2",
    ] {
        let answer = service.ask(Request::get(format!("/v1/files?{query}"))).await;
        problem(&answer, 400, "bad-request");
    }
    service.end().await;
}

/// By the routes themselves: over a socket, the kernel would have taken the page.
#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_page_holds_its_place_for_as_long_as_its_bytes_are_there(database: PgPool) {
    let service = Service::start(&database, &["--max-pages", "2"]).await;
    service.store("a", "hello").await;
    let free = || service.app.pages.available_permits();
    for target in ["/v1/files", "/v1/files/export"] {
        let request = http::Request::get(target).body(Body::empty()).unwrap();
        let response = routes(service.app.clone()).oneshot(request).await.unwrap();
        let mut body = response.into_body();
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap();
        let page = frame.unwrap().into_data().unwrap();
        drop(body);
        assert_eq!(free(), 1, "{target}: {} bytes", page.len());
        drop(page);
        assert_eq!(free(), 2, "{target}");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_page_that_is_just_full_has_no_next(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    rows::plant(&database, 100, "a", "b").await;
    for (limit, lengths) in [
        (100, &[100][..]),
        (99, &[99, 1]),
        (50, &[50, 50]),
        (51, &[51, 49]),
        (33, &[33, 33, 33, 1]),
    ] {
        let pages = walk(&service, &format!("/v1/files?limit={limit}"), async || {}).await;
        let found: Vec<usize> = pages.iter().map(Vec::len).collect();
        assert_eq!(found, lengths, "{limit}");
        let all: BTreeSet<String> = pages.into_iter().flatten().collect();
        assert_eq!(all, service.records().await);
    }
    assert_eq!(page(&service, "/v1/files").await.0.len(), 20, "unless the client says");
    rows::clear(&database).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_walk_finds_what_stands_once_while_others_come_and_go(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    rows::plant(&database, 1000, "stands", "b").await;
    rows::plant(&database, 300, "goes", "b").await;
    let pages = walk(&service, "/v1/files?limit=17", async || {
        rows::plant(&database, 9, "comes", "b").await;
        rows::remove(&database, 3, "goes").await;
        rows::remove(&database, 2, "comes").await;
    })
    .await;
    let seen: Vec<String> = pages.into_iter().flatten().collect();
    let once: BTreeSet<String> = seen.iter().cloned().collect();
    assert_eq!(seen.len(), once.len(), "some were listed twice");
    let stood = rows::ids(&database, "stands").await;
    assert_eq!(stood.difference(&once).count(), 0, "some were missed");
    assert!(seen.is_sorted_by(|one, next| one > next));
    rows::clear(&database).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_page_may_be_deleted_from_under_its_cursor(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    rows::plant(&database, 4, "a", "b").await;
    let (first, next) = page(&service, "/v1/files?limit=2").await;
    let delete = Request::delete(format!("/v1/files/{}", first[1]));
    assert_eq!(service.ask(delete).await.status, 204);
    assert_eq!(page(&service, &next.unwrap()).await.0.len(), 2);
    rows::clear(&database).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn long_names_make_shorter_pages_and_nothing_is_lost(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    // Each byte of both becomes two in JSON.
    let longest = "\"".repeat(255);
    rows::plant(&database, 150, &longest, &longest).await;
    let pages = walk(&service, "/v1/files?limit=100", async || {}).await;
    assert!(pages.len() > 4, "{}", pages.len());
    let all: Vec<String> = pages.into_iter().flatten().collect();
    assert_eq!(all.len(), 150);
    assert_eq!(BTreeSet::from_iter(all), service.records().await);
    let got = service.ask(Request::get("/v1/files?limit=100")).await;
    assert!(got.body.len() < 36 << 10, "a page of {} bytes", got.body.len());
    rows::clear(&database).await;
    service.end().await;
}
