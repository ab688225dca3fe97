//! `POST /v1/files`: a body becomes a file, whole or not at all.

use sqlx::PgPool;
use streaming::upload::LEAST_PROGRESS;
use tests::Request;
use tests::message::{LAST_CHUNK, chunk};

use crate::rig::{File, Service, content, eventually, problem};

const POST: &str = "/v1/files?name=a";

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_goes_up_comes_down_the_same(database: PgPool) {
    let service = Service::start(&database, &["--upload-chunk", "8KiB"]).await;
    // Around the edges of the buffer, and several buffers.
    for size in [0, 1, 8191, 8192, 8193, 16_384, 100_000] {
        let sent = content(size);
        let file = service.store("a", sent.clone()).await;
        let got = service.ask(Request::get(&file.content)).await;
        assert_eq!((got.status, got.body == sent), (200, true), "{size} bytes");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn the_answer_is_the_record(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let post = Request::post("/v1/files?name=a.txt", "hello").field("content-type", "text/plain");
    let created = service.ask(post).await;
    let file = File::of(&created);
    let record: serde_json::Value = serde_json::from_slice(&created.body).unwrap();
    assert_eq!(record["name"], "a.txt");
    assert_eq!(record["content_type"], "text/plain");
    assert_eq!(record["size"], 5);
    let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(record["sha256"], sha256);
    assert!(record["created_at"].as_str().unwrap().ends_with('Z'), "{record}");
    assert_eq!(service.ask(Request::get(&file.record)).await.body, created.body);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn chunks_of_any_size_are_joined(database: PgPool) {
    let service = Service::start(&database, &["--upload-chunk", "8KiB"]).await;
    let sent = content(20_000);
    for size in [1, 7, 4096, 8192, 20_000] {
        let sent = &sent[..sent.len().min(size * 2000)];
        let created = service.ask(Request::chunked(POST, sent.chunks(size))).await;
        let got = service.ask(Request::get(File::of(&created).content)).await;
        assert!(got.body == sent, "chunks of {size}");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn chunk_extensions_and_trailers_are_no_content(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let body = "5;name=\"value\"\r\nhello\r\n0\r\nx-trailer: 1\r\n\r\n";
    let post = Request::new("POST", POST).field("transfer-encoding", "chunked").body(body);
    let file = File::of(&service.ask(post).await);
    assert_eq!(service.ask(Request::get(&file.content)).await.text(), "hello");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn content_is_invisible_until_it_is_whole(database: PgPool) {
    let service = Service::start(&database, &["--upload-chunk", "8KiB"]).await;
    let mut client = service.client().await;
    client.request(&Request::chunked(POST, []).body(chunk(&content(10_000)))).await.unwrap();
    eventually("the upload is staged", async || service.staged_bytes() >= 8192).await;
    assert!(service.contents().is_empty());
    assert!(service.records().await.is_empty());
    client.send(LAST_CHUNK).await.unwrap();
    let file = File::of(&client.response(false).await.unwrap());
    assert_eq!(service.contents(), [file.id.to_string()].into());
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_broken_body_leaves_nothing_behind(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for body in ["5\r\nhelloworld\r\n0\r\n\r\n", "x\r\nhello\r\n", "-5\r\nhello\r\n", "\r\n\r\n"] {
        let post = Request::new("POST", POST).field("transfer-encoding", "chunked").body(body);
        problem(&service.ask(post).await, 400, "bad-request");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_content_type_is_kept_within_bounds(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let longest = format!("text/plain; a={}", "x".repeat(241));
    for (sent, kept) in [
        (None, "application/octet-stream"),
        (Some("text/html; charset=\"utf-8\""), "text/html; charset=\"utf-8\""),
        (Some(longest.as_str()), longest.as_str()),
    ] {
        let post = Request::post(POST, "x");
        let post = if let Some(sent) = sent { post.field("content-type", sent) } else { post };
        let file = File::of(&service.ask(post).await);
        let got = service.ask(Request::get(&file.content)).await;
        assert_eq!(got.field("content-type"), Some(kept));
    }
    for sent in [&[b'x'; 256][..], b"", "text/plain; a=é".as_bytes(), b"text/\xff"] {
        let post = Request::post(POST, "x").field("content-type", sent);
        let detail = problem(&service.ask(post).await, 422, "invalid");
        assert!(detail.starts_with("Content-Type"), "{detail}");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn encoded_content_is_refused(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for coding in ["gzip", "br", "identity, gzip"] {
        let post = Request::post(POST, "x").field("content-encoding", coding);
        problem(&service.ask(post).await, 415, "unsupported");
    }
    File::of(&service.ask(Request::post(POST, "x").field("content-encoding", "identity")).await);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_stalled_upload_is_told_and_leaves_nothing_behind(database: PgPool) {
    let service = Service::start(&database, &["--upload-timeout", "200ms"]).await;
    // With nothing of the body, with some of it, and before the last chunk.
    let some = Request::chunked(POST, []).body(chunk(b"hello"));
    for post in
        [Request::post(POST, "hello").body(""), Request::post(POST, "hello").body("hell"), some]
    {
        problem(&service.ask(post).await, 408, "stalled");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_slow_upload_is_no_stalled_one(database: PgPool) {
    let service = Service::start(&database, &["--upload-timeout", "1s"]).await;
    let mut client = service.client().await;
    let whole = content(8 * LEAST_PROGRESS);
    client.request(&Request::post(POST, whole.clone()).body("")).await.unwrap();
    for part in whole.chunks(LEAST_PROGRESS) {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        client.send(part).await.unwrap();
    }
    File::of(&client.response(false).await.unwrap());
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn an_upload_that_trickles_is_told_and_leaves_nothing_behind(database: PgPool) {
    let service = Service::start(&database, &["--upload-timeout", "400ms"]).await;
    let mut client = service.client().await;
    client.request(&Request::post(POST, content(100_000)).body("")).await.unwrap();
    for _ in 0..15 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        if client.send("x").await.is_err() {
            break;
        }
    }
    // It has come long since: who only now stops would be told in 400 ms.
    let answer =
        tokio::time::timeout(std::time::Duration::from_millis(250), client.response(false));
    problem(&answer.await.expect("it was not told while it trickled").unwrap(), 408, "stalled");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn one_upload_too_many_is_refused_and_the_place_comes_back(database: PgPool) {
    let service = Service::start(&database, &["--max-uploads", "2"]).await;
    let (mut one, mut other) = (service.client().await, service.client().await);
    for client in [&mut one, &mut other] {
        client.request(&Request::post(POST, "hello").body("hell")).await.unwrap();
    }
    eventually("both are in flight", async || service.free_uploads() == 0).await;
    problem(&service.ask(Request::post(POST, "hello")).await, 503, "busy");
    one.send("o").await.unwrap();
    File::of(&one.response(false).await.unwrap());
    eventually("the place is free", async || service.free_uploads() == 1).await;
    service.store("a", "hello").await;
    other.send("o").await.unwrap();
    File::of(&other.response(false).await.unwrap());
    service.end().await;
}
