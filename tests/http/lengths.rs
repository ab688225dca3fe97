//! Bodies whose length is not what the head says, or more than is allowed.

use sqlx::PgPool;
use tests::Request;
use tests::message::{LAST_CHUNK, chunk};

use crate::rig::{File, Service, content, eventually, problem};

const POST: &str = "/v1/files?name=a";

/// The most that these services take, in bytes.
const MOST: usize = 100_000;
const FLAGS: [&str; 2] = ["--max-upload-size", "100000B"];

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn the_largest_content_is_taken_and_one_byte_more_is_not(database: PgPool) {
    let service = Service::start(&database, &FLAGS).await;
    let sent = content(MOST + 1);
    let most = &sent[..MOST];
    File::of(&service.ask(Request::post(POST, most)).await);
    File::of(&service.ask(Request::chunked(POST, most.chunks(9999))).await);
    problem(&service.ask(Request::post(POST, &sent[..])).await, 413, "too-large");
    problem(&service.ask(Request::chunked(POST, sent.chunks(9999))).await, 413, "too-large");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_length_too_large_is_refused_before_the_body(database: PgPool) {
    let service = Service::start(&database, &FLAGS).await;
    for length in ["100001", "4294967296", "18446744073709551613"] {
        let post = Request::new("POST", POST).field("content-length", length);
        let detail = problem(&service.ask(post).await, 413, "too-large");
        assert_eq!(detail, "at most 100000 bytes");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_client_that_is_still_sending_sees_the_refusal(database: PgPool) {
    let service = Service::start(&database, &FLAGS).await;
    let large = content(32 << 20);
    let declared = Request::post(POST, &large[..]);
    let in_chunks = Request::chunked(POST, large.chunks(1 << 16));
    for post in [declared, in_chunks] {
        // One that reads while it sends, and one that sends first.
        problem(&service.ask(post.clone()).await, 413, "too-large");
        let mut client = service.client().await;
        assert!(client.request(&post).await.is_err(), "all was taken");
        problem(&client.response(false).await.unwrap(), 413, "too-large");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_refusal_before_the_end_of_the_body_says_that_the_connection_ends(database: PgPool) {
    let service = Service::start(&database, &FLAGS).await;
    let mut client = service.client().await;
    let early = client.exchange(&Request::post(POST, content(2 * MOST))).await.unwrap();
    problem(&early, 413, "too-large");
    assert_eq!(early.field("connection"), Some("close"));
    assert_eq!(client.end().await.unwrap(), b"");
    // However little is left, and whether it has come or not.
    for sent in ["hello", ""] {
        let mut client = service.client().await;
        client.request(&Request::post("/none", "hello").body(sent)).await.unwrap();
        let early = client.response(false).await.unwrap();
        assert_eq!((early.status, early.field("connection")), (404, Some("close")));
        assert_eq!(client.end().await.unwrap(), b"");
    }
    // Where the body was read, there is no need.
    let mut client = service.client().await;
    let patch = Request::patch("/v1/files/00000000-0000-0000-0000-000000000000", "{}");
    for _ in 0..2 {
        let answer = client.exchange(&patch).await.unwrap();
        assert_eq!((answer.status, answer.field("connection")), (400, None), "{}", answer.text());
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_client_that_is_still_sending_sees_that_there_is_no_place(database: PgPool) {
    let service = Service::start(&database, &["--max-uploads", "1"]).await;
    let mut busy = service.client().await;
    busy.request(&Request::post(POST, "hello").body("hell")).await.unwrap();
    eventually("it is in flight", async || service.free_uploads() == 0).await;
    let large = content(32 << 20);
    problem(&service.ask(Request::post(POST, &large[..])).await, 503, "busy");
    problem(&service.ask(Request::chunked(POST, large.chunks(1 << 16))).await, 503, "busy");
    // Nor is one reset that goes on for a while.
    let (first, rest) = large[..600_000].split_at(200_000);
    let in_chunks = Request::chunked(POST, []).body(chunk(first));
    for post in [Request::post(POST, &large[..]).body(first), in_chunks] {
        let mut client = service.client().await;
        client.request(&post).await.unwrap();
        problem(&client.response(false).await.unwrap(), 503, "busy");
        assert_eq!(client.rest().await.unwrap(), b"");
        for part in rest.chunks(1000) {
            client.send(part).await.unwrap();
        }
    }
    busy.send("o").await.unwrap();
    File::of(&busy.response(false).await.unwrap());
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn who_goes_on_sending_after_a_refusal_is_not_reset(database: PgPool) {
    let service = Service::start(&database, &FLAGS).await;
    let sent = content(6 * MOST);
    let (first, rest) = sent.split_at(2 * MOST);
    let in_chunks = Request::chunked(POST, []).body(chunk(first));
    for post in [Request::post(POST, &sent[..]).body(first), in_chunks] {
        let mut client = service.client().await;
        client.request(&post).await.unwrap();
        problem(&client.response(false).await.unwrap(), 413, "too-large");
        assert_eq!(client.rest().await.unwrap(), b"");
        for part in rest.chunks(1000) {
            client.send(part).await.unwrap();
        }
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_body_that_ends_before_its_length_is_told_and_not_kept(database: PgPool) {
    let service = Service::start(&database, &FLAGS).await;
    let short = Request::post(POST, "hello").body("hell");
    let cut = Request::chunked(POST, []).body(chunk(b"hello"));
    for post in [short, cut] {
        let mut client = service.client().await;
        client.request(&post).await.unwrap();
        client.finish().await.unwrap();
        problem(&client.response(false).await.unwrap(), 400, "bad-request");
        assert_eq!(client.rest().await.unwrap(), b"");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_follows_a_body_is_no_part_of_it(database: PgPool) {
    let service = Service::start(&database, &FLAGS).await;
    let mut client = service.client().await;
    client.request(&Request::post(POST, "hello").body("hello, world\r\n\r\n")).await.unwrap();
    let file = File::of(&client.response(false).await.unwrap());
    let rest = client.rest().await.unwrap();
    assert!(rest.starts_with(b"HTTP/1.1 400 "), "{:?}", String::from_utf8_lossy(&rest));
    assert_eq!(service.ask(Request::get(&file.content)).await.text(), "hello");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn without_length_and_chunks_the_body_is_empty(database: PgPool) {
    let service = Service::start(&database, &FLAGS).await;
    let mut client = service.client().await;
    let file = File::of(&client.exchange(&Request::new("POST", POST)).await.unwrap());
    assert_eq!(service.ask(Request::get(&file.content)).await.text(), "");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn lengths_that_are_none_are_refused(database: PgPool) {
    let service = Service::start(&database, &FLAGS).await;
    for length in ["five", "-1", "+5", "5.0", "0x5", "5, 6", "", "99999999999999999999"] {
        let post = Request::new("POST", POST).field("content-length", length).body("hello");
        let answer = service.ask(post).await;
        assert_eq!((answer.status, answer.text().as_str()), (400, ""), "{length}");
    }
    let twice = Request::post(POST, "hello").field("content-length", "6");
    assert_eq!(service.ask(twice).await.status, 400);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn chunks_win_over_a_length_and_end_the_connection(database: PgPool) {
    let service = Service::start(&database, &FLAGS).await;
    let smuggled =
        [&chunk(b"hello")[..], LAST_CHUNK, b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"];
    let post = Request::chunked(POST, []).field("content-length", "3").body(smuggled.concat());
    let mut client = service.client().await;
    client.request(&post).await.unwrap();
    let file = File::of(&client.response(false).await.unwrap());
    assert_eq!(client.end().await.unwrap(), b"", "a request was smuggled in");
    assert_eq!(service.ask(Request::get(&file.content)).await.text(), "hello");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_transfer_coding_that_is_not_undone_is_refused(database: PgPool) {
    let service = Service::start(&database, &FLAGS).await;
    let body = [&chunk(b"hello")[..], LAST_CHUNK].concat();
    let post =
        |coding| Request::new("POST", POST).field("transfer-encoding", coding).body(&body[..]);
    for coding in ["gzip, chunked", "chunked, chunked", "identity, chunked"] {
        problem(&service.ask(post(coding)).await, 501, "transfer-coding");
    }
    let apart = post("gzip").field("transfer-encoding", "chunked");
    problem(&service.ask(apart).await, 501, "transfer-coding");
    // Where chunked is not the last, nobody knows where the body ends.
    for coding in ["gzip", "identity", "chunked, gzip"] {
        let answer = service.ask(post(coding)).await;
        assert_eq!((answer.status, answer.text().as_str()), (400, ""), "{coding}");
    }
    File::of(&service.ask(post("Chunked")).await);
    service.end().await;
}
