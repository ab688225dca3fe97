//! JSON bodies: small, of one shape, and nothing else.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use sqlx::PgPool;
use tests::Request;

use crate::rig::{Service, eventually, problem};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_is_not_json_of_this_shape_is_refused(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let (deep, deep_objects) = ("[".repeat(4000), "{\"name\":".repeat(500));
    let deep_name = format!("{{\"name\":{}", "[".repeat(4000));
    for body in [
        "",
        " ",
        "{",
        "null",
        "\"a\"",
        "[]",
        "[\"b\"]",
        "{}",
        "{\"name\":null}",
        "{\"name\":1}",
        "{\"name\":[\"b\"]}",
        "{\"Name\":\"b\"}",
        "{\"name\":\"b\",\"size\":1}",
        "{\"name\":\"b\",\"name\":\"b\"}",
        "{\"name\":\"b\"}{}",
        "{\"name\":\"b\"} x",
        "{\"name\":\"b\",}",
        "{'name':'b'}",
        "\u{feff}{\"name\":\"b\"}",
        "{\"name\":\"\\ud800\"}",
        "{\"name\":\"\\udc00\\ud800\"}",
        "{\"name\":\"a\nb\"}",
        "name=b",
        &deep,
        &deep_objects,
        &deep_name,
    ] {
        let answer = service.ask(Request::patch(&file.record, body)).await;
        problem(&answer, 400, "bad-request");
    }
    let no_text = Request::patch(&file.record, &b"{\"name\":\"\xff\"}"[..]);
    problem(&service.ask(no_text).await, 400, "bad-request");
    let got = service.ask(Request::get(&file.record)).await;
    assert!(got.text().contains("\"name\":\"a\""));
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn json_may_be_written_in_any_way_and_be_sent_compressed(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    for body in [" {\n\"name\" :\t\"b\" }\r\n", "{\"\\u006eame\":\"\\u0062\"}"] {
        let patch = |body: Vec<u8>| Request::patch(&file.record, body);
        let mut requests = vec![patch(body.into())];
        for coding in ["gzip", "GZIP", "x-GZip"] {
            requests.push(patch(gzip(body.as_bytes())).field("content-encoding", coding));
        }
        for coding in ["identity", "Identity"] {
            requests.push(patch(body.into()).field("content-encoding", coding));
        }
        for request in requests {
            let renamed = service.ask(request).await;
            assert_eq!(renamed.status, 200, "{}", renamed.text());
            assert!(renamed.text().contains("\"name\":\"b\""));
        }
    }
    let chunks = [&b"{\"na"[..], b"me\":", b"\"\xf0\x9f", b"\x9a\xa2\"}"];
    let request = Request::new("PATCH", &file.record)
        .field("transfer-encoding", "chunked")
        .field("content-type", "application/merge-patch+json; charset=utf-8");
    let chunked = chunks.into_iter().flat_map(tests::message::chunk);
    let request = request.body(chunked.chain(*b"0\r\n\r\n").collect::<Vec<u8>>());
    assert!(service.ask(request).await.text().contains("\"name\":\"🚢\""));
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_body_too_large_is_refused_compressed_or_not(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let padded = |size: usize| format!("{}{{\"name\":\"b\"}}", " ".repeat(size - 12));
    let patch = |body: &[u8]| Request::patch(&file.record, body);
    let coded = |body: &[u8]| patch(&gzip(body)).field("content-encoding", "gzip");
    let largest = padded(4096);
    for request in [patch(largest.as_bytes()), coded(largest.as_bytes())] {
        assert_eq!(service.ask(request).await.status, 200);
    }
    // 1 KiB on the wire for 1 MiB.
    let (larger, bomb) = (padded(4097), padded(1 << 20));
    for request in [
        patch(larger.as_bytes()),
        patch(bomb.as_bytes()),
        coded(larger.as_bytes()),
        coded(bomb.as_bytes()),
    ] {
        assert_eq!(problem(&service.ask(request).await, 413, "too-large"), "at most 4096 bytes");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_coding_that_is_broken_is_refused(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let whole = gzip(b"{\"name\":\"b\"}");
    for body in [&b"{\"name\":\"b\"}"[..], &whole[..whole.len() - 9], &whole[..4], b""] {
        let request = Request::patch(&file.record, body).field("content-encoding", "gzip");
        problem(&service.ask(request).await, 400, "bad-request");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_is_said_to_be_no_json_is_refused(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let body = "{\"name\":\"b\"}";
    let length = body.len().to_string();
    let untyped =
        || Request::new("PATCH", &file.record).field("content-length", &length).body(body);
    problem(&service.ask(untyped()).await, 415, "unsupported");
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json", ""]
    {
        let answer = service.ask(untyped().field("content-type", content_type)).await;
        problem(&answer, 415, "unsupported");
    }
    for coding in ["br", "zstd", "deflate", "x-unknown", "gzip, gzip"] {
        let request = Request::patch(&file.record, body).field("content-encoding", coding);
        let answer = service.ask(request).await;
        assert_eq!(answer.status, 415, "{coding}: {}", answer.text());
        problem(&answer, 415, "http");
    }
    service.end().await;
}

/// The refusal is the answer even to who has more to send.
#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_body_that_never_ends_is_refused_when_it_is_too_large(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let mut client = service.client().await;
    let head = Request::new("PATCH", &file.record)
        .field("transfer-encoding", "chunked")
        .field("content-type", "application/json")
        .body(tests::message::chunk(&[b' '; 5000]));
    client.request(&head).await.unwrap();
    problem(&client.response(false).await.unwrap(), 413, "too-large");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_body_that_stalls_is_told_and_changes_nothing(database: PgPool) {
    let service =
        Service::start(&database, &["--upload-timeout", "200ms", "--max-requests", "1"]).await;
    let file = service.store("a", "hello").await;
    let whole = "{\"name\":\"b\"}";
    let cut = |body: &[u8]| body[..body.len() - 1].to_vec();
    let patch = || Request::patch(&file.record, whole);
    let chunked = Request::new("PATCH", &file.record)
        .field("transfer-encoding", "chunked")
        .field("content-type", "application/json");
    let zipped = gzip(whole.as_bytes());
    // With nothing of it, with some, without the end of the chunks, compressed.
    for request in [
        patch().body(""),
        patch().body(cut(whole.as_bytes())),
        chunked.body(tests::message::chunk(whole.as_bytes())),
        Request::patch(&file.record, &zipped[..])
            .field("content-encoding", "gzip")
            .body(cut(&zipped)),
    ] {
        let mut client = service.client().await;
        client.request(&request).await.unwrap();
        problem(&client.response(false).await.unwrap(), 408, "stalled");
        // What is still to come of the body must not be taken for a request.
        assert_eq!(client.rest().await.unwrap(), b"");
        eventually("its place is free", async || service.app.requests.available_permits() == 1)
            .await;
    }
    assert!(service.ask(Request::get(&file.record)).await.text().contains("\"name\":\"a\""));
    service.end().await;
}
