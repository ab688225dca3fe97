//! Compression: what is worth it, for who wants it, while there are encoders.

use sqlx::PgPool;
use tests::{Client, Request, Response};

use crate::rig::{Service, content, eventually, rows};

async fn ask(service: &Service, target: &str, accepted: &str) -> Response {
    service.ask(Request::get(target).field("accept-encoding", accepted)).await
}

/// Whether a cache is told that what is accepted makes a difference.
fn varies(response: &Response) -> bool {
    response.fields.iter().any(|(name, value)| name == "vary" && value == "accept-encoding")
}

fn decoded(response: &Response) -> Vec<u8> {
    assert_eq!(response.field("content-encoding"), Some("gzip"));
    assert!(varies(response));
    let mut bytes = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&response.body[..]);
    std::io::Read::read_to_end(&mut decoder, &mut bytes).unwrap();
    bytes
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_is_encoded_decodes_to_the_same(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    rows::plant(&database, 500, "a", "b").await;
    for target in ["/v1/files", "/v1/files/export"] {
        let plain = ask(&service, target, "identity").await;
        assert_eq!(plain.field("content-encoding"), None);
        assert!(varies(&plain) && varies(&service.ask(Request::get(target)).await));
        for accepted in ["gzip", "GZIP", "br, gzip;q=0.5, *;q=0"] {
            let encoded = ask(&service, target, accepted).await;
            assert!(encoded.body.len() < plain.body.len(), "{accepted}");
            assert_eq!(decoded(&encoded), plain.body, "{accepted}");
        }
        for accepted in ["gzip;q=0", "br", "deflate, zstd", ""] {
            let got = ask(&service, target, accepted).await;
            assert_eq!((got.field("content-encoding"), &got.body), (None, &plain.body));
            assert!(varies(&got), "{accepted}");
        }
    }
    rows::clear(&database).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_has_a_tag_or_is_small_is_sent_as_it_is(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let body = content(10_000);
    let post = Request::post("/v1/files?name=a", &body[..]).field("content-type", "text/csv");
    let file = crate::rig::File::of(&service.ask(post).await);
    for target in [&file.content, &file.record, "/v1/files", "/livez"] {
        let got = ask(&service, target, "gzip").await;
        assert_eq!((got.status, got.field("content-encoding")), (200, None), "{target}");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn without_an_encoder_the_response_is_sent_as_it_is(database: PgPool) {
    let service = Service::start(&database, &["--max-encoders", "1"]).await;
    rows::plant(&database, 20_000, "a", "b").await;
    let mut slow = Client::connect_narrow(service.address, 16 << 10).await.unwrap();
    let export = Request::get("/v1/files/export").field("accept-encoding", "gzip");
    slow.request(&export).await.unwrap();
    eventually("it is taken", async || service.app.encoders.available_permits() == 0).await;
    let got = ask(&service, "/v1/files", "gzip").await;
    assert_eq!((got.status, got.field("content-encoding")), (200, None));
    assert!(varies(&got));
    assert!(got.body.starts_with(b"{\"files\":["));
    drop(slow);
    eventually("it is free", async || service.app.encoders.available_permits() == 1).await;
    decoded(&ask(&service, "/v1/files", "gzip").await);
    rows::clear(&database).await;
    service.end().await;
}

/// Whoever accepts nothing that there is, gets what there is: an upload that was
/// kept must not be told as refused.
#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_a_client_accepts_never_makes_an_answer_an_error(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for accepted in ["identity;q=0", "*;q=0", "br, *;q=0", "gzip;q=0, identity;q=0"] {
        let accepting = |request: Request| request.field("accept-encoding", accepted);
        let post = Request::post("/v1/files?name=a", "hello");
        let file = crate::rig::File::of(&service.ask(accepting(post)).await);
        for target in ["/livez", "/v1/files", "/v1/files/export", &file.record, &file.content] {
            let got = service.ask(accepting(Request::get(target))).await;
            assert_eq!(got.status, 200, "{accepted}: {target}");
        }
        let none = service.ask(accepting(Request::get("/none"))).await;
        crate::rig::problem(&none, 404, "no-such-route");
        assert_eq!(service.ask(accepting(Request::delete(&file.record))).await.status, 204);
    }
    service.end().await;
}

/// RFC 9110, section 9.3.2: HEAD tells of the very answer that GET would be.
#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn head_says_how_get_would_be_encoded(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    rows::plant(&database, 100, "a", "b").await;
    for target in ["/v1/files", "/v1/files/export", "/v1/files?limit=1"] {
        for accepted in ["gzip", "identity"] {
            let get = ask(&service, target, accepted).await;
            let head = Request::head(target).field("accept-encoding", accepted);
            let head = service.ask(head).await;
            for name in ["content-type", "content-encoding", "content-length"] {
                assert_eq!(head.field(name), get.field(name), "{target}: {accepted}");
            }
            assert_eq!(varies(&head), varies(&get), "{target}: {accepted}");
        }
    }
    rows::clear(&database).await;
    service.end().await;
}
