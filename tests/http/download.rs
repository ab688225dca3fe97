//! `GET` and `HEAD …/content`: the right bytes, or none.

use std::fs::{self, File};

use sqlx::PgPool;
use tests::{Client, Request};

use crate::rig::{Service, content, eventually, problem};

/// More than the kernel takes in for a client that does not read.
const LARGE: usize = 8 << 20;

/// Begins a download of a large file, and leaves most of it unread.
async fn begin(service: &Service, target: &str) -> Client {
    let mut client = Client::connect_narrow(service.address, 16 << 10).await.unwrap();
    client.request(&Request::get(target)).await.unwrap();
    assert_eq!(client.head().await.unwrap().status, 200);
    client
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_download_says_what_it_is_and_does_no_harm(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let post =
        Request::post("/v1/files?name=a.html", "<script>").field("content-type", "text/html");
    let file = crate::rig::File::of(&service.ask(post).await);
    let get = service.ask(Request::get(&file.content)).await;
    for (name, value) in [
        ("content-length", "8"),
        ("content-type", "text/html"),
        ("content-disposition", "attachment; filename=\"a.html\""),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
        ("etag", file.etag.as_str()),
    ] {
        assert_eq!(get.field(name), Some(value), "{name}");
    }
    assert!(get.field("last-modified").is_some_and(|date| date.ends_with(" GMT")));
    // HEAD says the same, but for what is of the moment, and sends nothing.
    let mut head = service.ask(Request::head(&file.content)).await;
    assert_eq!(head.body, b"");
    let moment = |name: &str| matches!(name, "date" | "x-request-id");
    let [mut get, mut head] = [get.fields, std::mem::take(&mut head.fields)];
    for fields in [&mut get, &mut head] {
        fields.retain(|(name, _)| !moment(name));
        fields.sort();
    }
    assert_eq!(get, head);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_is_not_there_is_not_found(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for id in
        [uuid::Uuid::now_v7().to_string().as_str(), "x", "..", "%2e%2e", "..%2f..%2fetc", "%00"]
    {
        for target in [format!("/v1/files/{id}/content"), format!("/v1/files/{id}")] {
            problem(&service.ask(Request::get(&target)).await, 404, "no-such-file");
            let head = service.ask(Request::head(&target)).await;
            assert_eq!((head.status, head.text().as_str()), (404, ""), "{target}");
        }
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn one_download_too_many_is_refused_and_the_place_comes_back(database: PgPool) {
    let service = Service::start(&database, &["--max-downloads", "1"]).await;
    let file = service.plant(&content(LARGE)).await;
    let mut first = begin(&service, &file.content).await;
    problem(&service.ask(Request::get(&file.content)).await, 503, "busy");
    // HEAD opens it too. What opens nothing needs no place.
    assert_eq!(service.ask(Request::head(&file.content)).await.status, 503);
    let have = Request::head(&file.content).field("if-none-match", &file.etag);
    assert_eq!(service.ask(have).await.status, 304);
    assert!(first.read(LARGE).await.unwrap() == content(LARGE));
    service.at_rest().await;
    let one = Request::get(&file.content).field("range", "bytes=0-0");
    assert_eq!(service.ask(one).await.status, 206);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn content_of_another_size_or_none_is_never_sent(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let part = |file: &crate::rig::File| Request::get(&file.content).field("range", "bytes=0-0");
    let file = service.store("a", "hello").await;
    let path = service.content_of(&file);
    for damaged in ["", "hell", "hello!"] {
        fs::write(&path, damaged).unwrap();
        problem(&service.ask(Request::get(&file.content)).await, 500, "internal");
        problem(&service.ask(part(&file)).await, 500, "internal");
        assert_eq!(service.ask(Request::head(&file.content)).await.status, 500);
    }
    fs::remove_file(&path).unwrap();
    problem(&service.ask(Request::get(&file.content)).await, 500, "internal");
    problem(&service.ask(part(&file)).await, 500, "internal");
    assert_eq!(service.ask(Request::head(&file.content)).await.status, 500);
    // It can still be deleted.
    assert_eq!(service.ask(Request::delete(&file.record)).await.status, 204);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn altered_content_never_looks_like_a_complete_answer(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for size in [5, 200_000] {
        let file = service.store("a", content(size)).await;
        let mut altered = content(size);
        altered[size - 1] ^= 1;
        fs::write(service.content_of(&file), &altered).unwrap();
        for whole in [
            Request::get(&file.content),
            Request::get(&file.content).field("range", "bytes=0-"),
            Request::get(&file.content).field("range", "bytes=0-1, 3-4"),
        ] {
            let mut client = service.client().await;
            client.request(&whole).await.unwrap();
            let got = client.end().await.unwrap();
            let body = got.windows(4).position(|window| window == b"\r\n\r\n");
            let body = body.map_or(0, |at| got.len() - at - 4);
            assert!(body < size, "{body} of {size} bytes");
        }
        // A part can't be checked: the digest of the whole is told beside it.
        let last = Request::get(&file.content).field("range", "bytes=-1");
        let part = service.ask(last).await;
        assert_eq!((part.status, part.body), (206, vec![altered[size - 1]]));
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn content_that_shrinks_under_way_breaks_the_download_off(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.plant(&content(LARGE)).await;
    let mut client = begin(&service, &file.content).await;
    let shorter = LARGE / 4 * 3;
    let stored = File::options().write(true).open(service.content_of(&file)).unwrap();
    stored.set_len(shorter as u64).unwrap();
    let got = client.end().await.unwrap();
    assert!(got.len() <= shorter && content(LARGE).starts_with(&got), "{} bytes", got.len());
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_download_goes_on_when_its_file_is_deleted(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.plant(&content(LARGE)).await;
    let mut client = begin(&service, &file.content).await;
    assert_eq!(service.ask(Request::delete(&file.record)).await.status, 204);
    problem(&service.ask(Request::get(&file.content)).await, 404, "no-such-file");
    assert!(service.contents().is_empty());
    assert!(client.read(LARGE).await.unwrap() == content(LARGE));
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_client_that_does_not_read_is_cut_off(database: PgPool) {
    let flags = ["--write-timeout", "200ms", "--max-downloads", "1"];
    let service = Service::start(&database, &flags).await;
    let file = service.plant(&content(LARGE)).await;
    let mut client = begin(&service, &file.content).await;
    eventually("it is cut off", async || service.connections.open() == 0).await;
    service.at_rest().await;
    assert!(client.end().await.unwrap().len() < LARGE);
    service.end().await;
}
