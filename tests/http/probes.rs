//! `/livez` and `/readyz`.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use tests::{Client, Request};
use tokio_util::task::TaskTracker;

use crate::rig::wire::Wire;
use crate::rig::{Service, eventually, problem};

async fn livez_and_readyz(service: &Service) -> (u16, u16) {
    let livez = service.ask(Request::get("/livez")).await;
    let readyz = service.ask(Request::get("/readyz")).await;
    if readyz.status != 200 {
        problem(&readyz, 503, "unavailable");
    }
    (livez.status, readyz.status)
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_healthy_service_is_alive_and_ready(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for (target, status) in [("/livez", "alive"), ("/readyz", "ready")] {
        let answer = service.ask(Request::get(target)).await;
        assert_eq!((answer.status, answer.text()), (200, format!("{{\"status\":\"{status}\"}}")));
        assert_eq!(answer.field("content-type"), Some("application/json"));
        assert_eq!(service.ask(Request::head(target)).await.status, 200);
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn the_admin_listener_answers_whatever_clients_hold(database: PgPool) {
    let flags = ["--max-connections", "1", "--rate-limit-burst", "1", "--rate-limit-period", "1h"];
    let service = Service::start(&database, &flags).await;
    let mut busy = service.client().await;
    busy.request(&Request::post("/v1/files?name=a", "hello").body("hell")).await.unwrap();
    eventually("it is in flight", async || service.staged() == 1).await;
    assert_eq!(service.client().await.response(false).await.unwrap().status, 503);
    // More than it has places: the longest idle makes room.
    let mut probers = Vec::new();
    for target in ["/livez", "/readyz"].repeat(4) {
        let mut prober = Client::connect(service.admin).await.unwrap();
        let answer = prober.exchange(&Request::get(target)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        probers.push(prober);
    }
    let mut other = Client::connect(service.admin).await.unwrap();
    let answer = other.exchange(&Request::get("/v1/files")).await.unwrap();
    problem(&answer, 404, "no-such-route");
    busy.send("o").await.unwrap();
    assert_eq!(busy.response(false).await.unwrap().status, 201);
    drop(busy);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn the_health_command_is_answered_and_then_by_nobody(database: PgPool) {
    let service = Service::start(&database, &["--tokens-sha256", &"0f".repeat(32)]).await;
    let address = service.admin;
    let ask = || TaskTracker::new().spawn_blocking(move || server::health::ask(address));
    ask().await.unwrap().unwrap();
    service.end().await;
    ask().await.unwrap().unwrap_err();
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn without_its_store_it_is_alive_and_not_ready(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    service.lose_staging().await;
    assert_eq!(livez_and_readyz(&service).await, (200, 503));
    service.return_staging();
    assert_eq!(livez_and_readyz(&service).await, (200, 200));
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn without_its_database_it_is_alive_and_not_ready(database: PgPool) {
    let mut wire = Wire::to(&database).await;
    let flags = ["--database-url", wire.url(), "--pool-timeout", "500ms"];
    let service = Service::start(&database, &flags).await;
    assert_eq!(livez_and_readyz(&service).await, (200, 200));
    wire.cut().await;
    assert_eq!(livez_and_readyz(&service).await, (200, 503));
    wire.mend().await;
    eventually("it is ready again", async || livez_and_readyz(&service).await == (200, 200)).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_database_that_hangs_does_not_hang_a_probe(database: PgPool) {
    let wire = Wire::to(&database).await;
    let flags = ["--database-url", wire.url(), "--pool-timeout", "60s"];
    let service = Service::start(&database, &flags).await;
    wire.mute(true);
    let begin = Instant::now();
    assert_eq!(livez_and_readyz(&service).await, (200, 503));
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    wire.mute(false);
    eventually("it is ready again", async || livez_and_readyz(&service).await == (200, 200)).await;
    service.end().await;
}
