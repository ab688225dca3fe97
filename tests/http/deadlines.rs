//! Deadlines: each phase of a connection has its own.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use tests::Request;

use crate::rig::{Service, eventually};

const WHOLE: &str = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
const SHORT: Duration = Duration::from_millis(200);

/// A service with one short deadline; those of the other phases are out of
/// reach.
async fn start(database: &PgPool, short: &str) -> Service {
    let all = ["--first-byte-timeout", "--header-timeout", "--idle-timeout"];
    let of = |flag: &str| if flag == short { "200ms" } else { "60s" };
    let flags: Vec<&str> = all.into_iter().flat_map(|flag| [flag, of(flag)]).collect();
    Service::start(database, &flags).await
}

/// Sends `bytes` and waits for the service to close; says how many answers
/// came before.
async fn until_closed(service: &Service, bytes: &str) -> usize {
    let mut client = service.client().await;
    let begin = Instant::now();
    client.send(bytes).await.unwrap();
    let rest = client.end().await.unwrap();
    assert!(begin.elapsed() >= SHORT, "{bytes:?}: {:?}", begin.elapsed());
    String::from_utf8_lossy(&rest).matches("HTTP/1.1 200 OK").count()
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn who_sends_nothing_is_closed(database: PgPool) {
    let service = start(&database, "--first-byte-timeout").await;
    assert_eq!(until_closed(&service, "").await, 0);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn who_begins_a_head_and_stops_is_closed(database: PgPool) {
    let service = start(&database, "--header-timeout").await;
    for begun in ["G", "\r\n", &WHOLE[..WHOLE.len() - 1]] {
        assert_eq!(until_closed(&service, begun).await, 0);
        let mut used = service.client().await;
        assert_eq!(used.exchange(&Request::get("/livez")).await.unwrap().status, 200);
        used.send(begun).await.unwrap();
        assert_eq!(used.end().await.unwrap(), b"", "{begun:?}");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn who_asks_nothing_more_is_closed(database: PgPool) {
    let service = start(&database, "--idle-timeout").await;
    assert_eq!(until_closed(&service, WHOLE).await, 1);
    assert_eq!(until_closed(&service, &WHOLE.repeat(3)).await, 3);
    // A head that began in the segment of the request before counts as idle.
    assert_eq!(until_closed(&service, &format!("{WHOLE}G")).await, 1);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_head_that_trickles_in_has_a_deadline_as_a_whole(database: PgPool) {
    let service = start(&database, "--header-timeout").await;
    let mut client = service.client().await;
    assert_eq!(client.exchange(&Request::get("/livez")).await.unwrap().status, 200);
    eventually("it is closed", async || client.send("G").await.is_err()).await;
    eventually("its place is free", async || service.connections.open() == 0).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_request_may_take_longer_than_a_pause(database: PgPool) {
    let service = start(&database, "--idle-timeout").await;
    let mut client = service.client().await;
    client.request(&Request::post("/v1/files?name=a", "hello").body("hell")).await.unwrap();
    tokio::time::sleep(2 * SHORT).await;
    client.send("o").await.unwrap();
    assert_eq!(client.response(false).await.unwrap().status, 201);
    service.end().await;
}
