//! Shutdown, in order: no new requests, those in flight end, or are cut off.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use axum::body::Body;
use handler::{Access, RateLimit};
use server::Outcome;
use sqlx::PgPool;
use tests::{Client, Request};
use tower::ServiceExt;

use crate::rig::{File, Service, content, eventually, problem};

const POST: &str = "/v1/files?name=a";
const LARGE: usize = 8 << 20;

/// An upload in flight, of which the last byte is missing.
async fn uploading(service: &Service) -> Client {
    let mut client = service.client().await;
    let free = service.free_uploads();
    client.request(&Request::post(POST, "hello").body("hell")).await.unwrap();
    eventually("it is in flight", async || service.free_uploads() < free).await;
    client
}

/// A download in flight, the client of which does not read on.
async fn downloading(service: &Service) -> Client {
    let file = service.plant(&content(LARGE)).await;
    let mut client = Client::connect_narrow(service.address, 16 << 10).await.unwrap();
    client.request(&Request::get(file.content)).await.unwrap();
    assert_eq!(client.head().await.unwrap().status, 200);
    client
}

async fn listener_closed(service: &Service) {
    eventually("nobody listens", async || Client::connect(service.address).await.is_err()).await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn readiness_fails_from_the_beginning_of_a_shutdown(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let readyz = async || {
        let limit =
            RateLimit { period: Duration::from_millis(1), burst: NonZeroU32::MAX, proxies: 0 };
        let stack = handler::stack(service.app.clone(), Access::Loopback, limit);
        let request =
            http::Request::get("/readyz").header("host", "localhost").body(Body::empty()).unwrap();
        stack.oneshot(request).await.unwrap()
    };
    assert_eq!(readyz().await.status(), 200);
    let mut client = uploading(&service).await;
    service.stop();
    listener_closed(&service).await;
    let answer = readyz().await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    client.send("o").await.unwrap();
    File::of(&client.response(false).await.unwrap());
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_balancer_has_time_to_see_that_readiness_fails(database: PgPool) {
    let service = Service::start(&database, &["--shutdown-delay", "2s"]).await;
    assert_eq!(service.ask(Request::get("/readyz")).await.status, 200);
    service.stop();
    eventually("readiness fails", async || {
        let answer = service.ask(Request::get("/readyz")).await;
        answer.status == 503 && problem(&answer, 503, "busy").contains("shutting down")
    })
    .await;
    assert_eq!(service.ask(Request::get("/livez")).await.status, 200);
    service.store("a", "still taken").await;
    listener_closed(&service).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn to_the_end_the_admin_listener_says_that_it_is_not_ready(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let mut upload = uploading(&service).await;
    service.stop();
    listener_closed(&service).await;
    let mut prober = Client::connect(service.admin).await.unwrap();
    assert_eq!(prober.exchange(&Request::get("/livez")).await.unwrap().status, 200);
    problem(&prober.exchange(&Request::get("/readyz")).await.unwrap(), 503, "busy");
    upload.send("o").await.unwrap();
    File::of(&upload.response(false).await.unwrap());
    let admin = service.admin;
    service.end().await;
    assert_eq!(prober.end().await.unwrap(), b"");
    assert!(Client::connect(admin).await.is_err(), "it listens");
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn connections_without_a_request_are_closed_at_once(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let (mut fresh, mut idle) = (service.client().await, service.client().await);
    assert_eq!(idle.exchange(&Request::get("/livez")).await.unwrap().status, 200);
    eventually("both are there", async || service.connections.open() == 2).await;
    let begin = Instant::now();
    service.stop();
    assert_eq!(fresh.rest().await.unwrap(), b"");
    assert_eq!(idle.rest().await.unwrap(), b"");
    service.end().await;
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn requests_in_flight_end_before_the_service_does(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let (mut upload, mut download) = (uploading(&service).await, downloading(&service).await);
    service.stop();
    listener_closed(&service).await;
    upload.send("o").await.unwrap();
    let created = upload.response(false).await.unwrap();
    assert_eq!(created.field("connection"), Some("close"));
    File::of(&created);
    assert_eq!(upload.rest().await.unwrap(), b"");
    assert!(download.read(LARGE).await.unwrap() == content(LARGE));
    assert_eq!(download.rest().await.unwrap(), b"");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_shutdown_takes_no_further_request(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let mut client = uploading(&service).await;
    service.stop();
    listener_closed(&service).await;
    client.send("oGET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    File::of(&client.response(false).await.unwrap());
    assert_eq!(client.end().await.unwrap(), b"");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_is_in_flight_at_the_deadline_is_cut_off_and_leaves_nothing(database: PgPool) {
    let service = Service::start(&database, &["--shutdown-timeout", "300ms"]).await;
    let (mut upload, mut download) = (uploading(&service).await, downloading(&service).await);
    let begin = Instant::now();
    service.end_with(Outcome::CutOff(2)).await;
    assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}", begin.elapsed());
    assert_eq!(upload.end().await.unwrap(), b"");
    assert!(download.end().await.unwrap().len() < LARGE);
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_second_signal_ends_the_waiting(database: PgPool) {
    let service = Service::start(&database, &["--shutdown-timeout", "60s"]).await;
    let (mut upload, mut download) = (uploading(&service).await, downloading(&service).await);
    service.stop();
    listener_closed(&service).await;
    service.force.cancel();
    let begin = Instant::now();
    service.end_with(Outcome::CutOff(2)).await;
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(upload.end().await.unwrap(), b"");
    assert!(download.end().await.unwrap().len() < LARGE);
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_is_being_published_is_published_before_the_service_ends(database: PgPool) {
    let service = Service::start(&database, &["--pool-connections", "1"]).await;
    let held = service.app.pool.acquire().await.unwrap();
    let mut client = service.client().await;
    client.request(&Request::post(POST, "hello")).await.unwrap();
    eventually("its content is in place", async || service.contents().len() == 1).await;
    drop(client);
    eventually("it is gone", async || service.connections.open() == 0).await;
    service.stop();
    listener_closed(&service).await;
    // Time in which a service that does not wait would close its pool.
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(held);
    eventually("it is recorded", async || service.records().await.len() == 1).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_stalled_upload_does_not_hold_the_shutdown_up(database: PgPool) {
    let flags = ["--upload-timeout", "300ms", "--shutdown-timeout", "60s"];
    let service = Service::start(&database, &flags).await;
    let mut client = uploading(&service).await;
    service.stop();
    problem(&client.response(false).await.unwrap(), 408, "stalled");
    drop(client);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_head_that_never_ends_does_not_hold_the_shutdown_up(database: PgPool) {
    let flags = ["--header-timeout", "300ms", "--shutdown-timeout", "60s"];
    let service = Service::start(&database, &flags).await;
    let (mut fresh, mut used) = (service.client().await, service.client().await);
    assert_eq!(used.exchange(&Request::get("/livez")).await.unwrap().status, 200);
    for client in [&mut fresh, &mut used] {
        client.send("GET /livez HTTP/1.1\r\nhost: loc").await.unwrap();
    }
    service.end().await;
    assert_eq!(fresh.end().await.unwrap(), b"");
    assert_eq!(used.end().await.unwrap(), b"");
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn who_leaves_during_a_shutdown_does_not_hold_it_up(database: PgPool) {
    let service = Service::start(&database, &["--shutdown-timeout", "60s"]).await;
    let (upload, download) = (uploading(&service).await, downloading(&service).await);
    service.stop();
    listener_closed(&service).await;
    upload.reset().unwrap();
    drop(download);
    service.end().await;
}
