//! `Expect: 100-continue`: a body is asked for only where it will be taken.

use sqlx::PgPool;
use tests::{Client, Request};

use crate::rig::{File, Service, eventually, problem};

const POST: &str = "/v1/files?name=a";

/// A POST of five bytes that waits to be asked for them.
fn waiting(target: &str) -> Request {
    Request::post(target, "hello").field("expect", "100-continue").body("")
}

async fn refused(client: &mut Client, request: Request, status: u16, kind: &str) {
    client.request(&request).await.unwrap();
    problem(&client.response(false).await.unwrap(), status, kind);
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_body_that_will_be_taken_is_asked_for(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let mut client = service.client().await;
    for _ in 0..2 {
        client.request(&waiting(POST)).await.unwrap();
        assert_eq!(client.response(false).await.unwrap().status, 100);
        client.send("hello").await.unwrap();
        let file = File::of(&client.response(false).await.unwrap());
        assert_eq!(service.ask(Request::get(&file.content)).await.text(), "hello");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_body_that_came_unasked_is_taken_too(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let mut client = service.client().await;
    client.request(&waiting(POST).body("hello")).await.unwrap();
    let mut response = client.response(false).await.unwrap();
    if response.status == 100 {
        response = client.response(false).await.unwrap();
    }
    File::of(&response);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_body_that_will_not_be_taken_is_not_asked_for(database: PgPool) {
    let flags = ["--max-upload-size", "4B", "--max-uploads", "1"];
    let service = Service::start(&database, &flags).await;
    let four =
        Request::new("POST", POST).field("content-length", "4").field("expect", "100-continue");
    for (request, status, kind) in [
        (waiting(POST), 413, "too-large"),
        (waiting("/v1/files"), 422, "invalid"),
        (waiting("/v1/files?name=a&name=b"), 400, "bad-request"),
        (waiting("/v1/file"), 404, "no-such-route"),
        (waiting("/livez"), 405, "http"),
        (four.clone().field("repr-digest", "sha-256=x"), 400, "bad-request"),
        (four.clone().field("content-encoding", "gzip"), 415, "unsupported"),
        (four.clone().field("origin", "http://elsewhere.example"), 403, "foreign-origin"),
    ] {
        refused(&mut service.client().await, request, status, kind).await;
    }
    let mut busy = service.client().await;
    busy.request(&Request::post(POST, "four").body("")).await.unwrap();
    eventually("it is in flight", async || service.free_uploads() == 0).await;
    refused(&mut service.client().await, four, 503, "busy").await;
    busy.send("four").await.unwrap();
    File::of(&busy.response(false).await.unwrap());
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn without_a_token_no_body_is_asked_for(database: PgPool) {
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let service = Service::start(&database, &["--tokens-sha256", hash]).await;
    refused(&mut service.client().await, waiting(POST), 401, "unauthorized").await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_refused_body_is_never_read_as_a_request(database: PgPool) {
    let service = Service::start(&database, &["--max-upload-size", "4B"]).await;
    let mut client = service.client().await;
    let smuggled = "DELETE /v1/files/x HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let post = Request::post(POST, smuggled).field("expect", "100-continue").body("");
    refused(&mut client, post, 413, "too-large").await;
    // The connection is closing: the body may go, or no longer.
    let _ = client.send(smuggled).await;
    assert_eq!(client.end().await.unwrap(), b"");
    service.end().await;
}
