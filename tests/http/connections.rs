//! Connections: kept, shared, limited, and closed when their time is up.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use tests::Request;

use crate::rig::{File, Service, content, eventually};

const POST: &str = "/v1/files?name=a";

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_connection_serves_one_request_after_another(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let mut client = service.client().await;
    for _ in 0..3 {
        let file = File::of(&client.exchange(&Request::post(POST, content(50_000))).await.unwrap());
        let missing = client.exchange(&Request::get("/none")).await.unwrap();
        assert_eq!(missing.status, 404);
        let got = client.exchange(&Request::get(&file.content)).await.unwrap();
        assert!(got.body == content(50_000));
        let gone = client.exchange(&Request::delete(&file.record)).await.unwrap();
        assert_eq!(gone.status, 204);
        // A refusal after the body ends nothing.
        let refused = client.exchange(&Request::patch(&file.record, "{}")).await.unwrap();
        assert_eq!((refused.status, refused.field("connection")), (400, None));
    }
    assert_eq!(service.connections.open(), 1);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn requests_in_one_go_are_answered_in_order(database: PgPool) {
    let service = Service::start(&database, &["--max-uploads", "1", "--max-downloads", "1"]).await;
    let file = service.store("a", content(50_000)).await;
    let requests = [
        Request::get(&file.content),
        Request::post(POST, "hello"),
        Request::get("/none"),
        Request::chunked(POST, [&b"hello"[..]]),
        Request::get(&file.content).field("range", "bytes=-1"),
    ];
    let bytes: Vec<u8> =
        requests.iter().flat_map(|request| request.bytes(service.address)).collect();
    let mut client = service.client().await;
    client.send(bytes).await.unwrap();
    for status in [200, 201, 404, 201, 206] {
        let answer = client.response(false).await.unwrap();
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_client_may_ask_for_the_end(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let mut client = service.client().await;
    client.request(&Request::get("/livez").field("connection", "close")).await.unwrap();
    let answer = client.response(false).await.unwrap();
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    assert_eq!(client.rest().await.unwrap(), b"");
    // The service does not wait for the client to close too.
    let mut chunked = service.client().await;
    let post = Request::chunked(POST, [&b"hello"[..]]).field("connection", "close");
    File::of(&chunked.exchange(&post).await.unwrap());
    let begin = Instant::now();
    eventually("both are closed", async || service.connections.open() == 0).await;
    assert!(begin.elapsed() < Duration::from_millis(1500), "{:?}", begin.elapsed());
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn an_old_client_is_answered_and_let_go(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let mut client = service.client().await;
    client.send("GET /livez HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!(client.response(false).await.unwrap().status, 200);
    assert_eq!(client.rest().await.unwrap(), b"");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_body_that_nobody_reads_is_never_taken_for_requests(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let smuggled = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(5000);
    for size in [smuggled.len() / 5000, smuggled.len()] {
        let body = &smuggled[..size];
        let with_body = |method, target| {
            let request = Request::new(method, target).body(body);
            request.field("content-length", size.to_string())
        };
        for (request, status) in [
            (with_body("GET", "/livez"), 200),
            (with_body("DELETE", "/v1/files/x"), 404),
            (with_body("POST", "/v1/files"), 422),
            (with_body("PUT", "/v1/files"), 405),
        ] {
            let mut client = service.client().await;
            let _ = client.request(&request).await;
            assert_eq!(client.response(false).await.unwrap().status, status);
            // It may go on with the next request, or be closed.
            if client.request(&Request::get("/none")).await.is_ok()
                && let Ok(next) = client.response(false).await
            {
                assert_eq!(next.status, 404, "{}", next.text());
            }
        }
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_is_no_request_is_refused_without_a_body(database: PgPool) {
    let service = Service::start(&database, &["--connection-buffer", "8KiB"]).await;
    let long = "x".repeat(10_000);
    let many = "a: b\r\n".repeat(200);
    let head = "GET /livez HTTP/1.1\r\nhost: localhost\r\n";
    for (bytes, status) in [
        (format!("{head}a: {long}\r\n\r\n"), 431),
        (format!("{head}{many}\r\n"), 431),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), 431),
        (format!("{head}a : b\r\n\r\n"), 400),
        (format!("{head} folded\r\n\r\n"), 400),
        (format!("{head}a\0: b\r\n\r\n"), 400),
        ("GET\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/3.0\r\n\r\n".to_owned(), 400),
        ("\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n".to_owned(), 400),
        ("GET / x HTTP/1.1\r\n\r\n".to_owned(), 400),
    ] {
        let mut client = service.client().await;
        client.send(&bytes).await.unwrap();
        let answer = client.response(false).await.unwrap();
        let shown = &bytes[..bytes.len().min(60)];
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{shown:?}");
        assert_eq!(answer.field("connection"), Some("close"), "{shown:?}");
        assert_eq!(client.end().await.unwrap(), b"");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_head_of_a_hundred_fields_or_a_buffer_is_served_and_no_more(database: PgPool) {
    let service = Service::start(&database, &["--connection-buffer", "8KiB"]).await;
    let start = "GET /livez HTTP/1.1\r\nhost: localhost\r\n";
    let of_fields = |count: usize| format!("{start}{}\r\n", "a: b\r\n".repeat(count - 1));
    let of_bytes = |bytes: usize| {
        let around = format!("{start}a: \r\n\r\n");
        around.replace("a: ", &format!("a: {}", "x".repeat(bytes - around.len())))
    };
    for (head, status) in
        [(of_fields(100), 200), (of_fields(101), 431), (of_bytes(8191), 200), (of_bytes(8300), 431)]
    {
        let mut client = service.client().await;
        client.send(&head).await.unwrap();
        let answer = client.response(false).await.unwrap();
        assert_eq!(answer.status, status, "{} bytes", head.len());
        if status == 431 {
            assert_eq!((answer.body.len(), answer.field("connection")), (0, Some("close")));
            assert_eq!(client.end().await.unwrap(), b"");
        }
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn one_connection_too_many_takes_the_place_of_the_longest_idle(database: PgPool) {
    let service = Service::start(&database, &["--max-connections", "2"]).await;
    let (mut first, mut second) = (service.client().await, service.client().await);
    for first_asks in [true, false, true] {
        let client = if first_asks { &mut first } else { &mut second };
        assert_eq!(client.exchange(&Request::get("/livez")).await.unwrap().status, 200);
    }
    // The second has been idle for longer now.
    let mut third = service.client().await;
    assert_eq!(third.exchange(&Request::get("/livez")).await.unwrap().status, 200);
    assert_eq!(second.rest().await.unwrap(), b"");
    assert_eq!(first.exchange(&Request::get("/livez")).await.unwrap().status, 200);
    assert_eq!(service.connections.open(), 2);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_connection_that_never_asked_gives_way_too(database: PgPool) {
    let service = Service::start(&database, &["--max-connections", "1"]).await;
    for begun in ["", "GET /livez HTTP/1.1\r\nhost"] {
        let mut silent = service.client().await;
        eventually("it is there", async || service.connections.open() == 1).await;
        silent.send(begun).await.unwrap();
        // But not at once.
        let is_served = async || service.ask(Request::get("/livez")).await.status == 200;
        eventually("there is room", is_served).await;
        assert_eq!(silent.rest().await.unwrap(), b"", "{begun:?}");
        eventually("nobody is there", async || service.connections.open() == 0).await;
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn with_every_connection_busy_one_more_is_told_later(database: PgPool) {
    let service = Service::start(&database, &["--max-connections", "2"]).await;
    let mut busy = [service.client().await, service.client().await];
    for client in &mut busy {
        client.request(&Request::post(POST, "hello").body("hell")).await.unwrap();
    }
    eventually("both are in flight", async || service.staged() == 2).await;
    for sends in [true, false] {
        let mut client = service.client().await;
        if sends {
            let _ = client.request(&Request::get("/livez")).await;
        }
        let answer = client.response(false).await.unwrap();
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
        assert_eq!(answer.field("content-type"), Some("application/problem+json"));
        let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(document["type"], "urn:problem-type:busy");
        assert_eq!(client.end().await.unwrap(), b"");
    }
    for client in &mut busy {
        client.send("o").await.unwrap();
        File::of(&client.response(false).await.unwrap());
    }
    assert_eq!(service.ask(Request::get("/livez")).await.status, 200);
    service.end().await;
}
