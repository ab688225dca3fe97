//! Admission: so many requests in flight, each to the end of its response.

use sqlx::PgPool;
use tests::{Client, Request};

use crate::rig::{Service, content, eventually, problem, routes, rows};

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_response_that_is_not_read_holds_its_place_and_probes_need_none(database: PgPool) {
    let service = Service::start(&database, &["--max-requests", "1"]).await;
    let file = service.plant(&content(8 << 20)).await;
    let mut client = Client::connect_narrow(service.address, 16 << 10).await.unwrap();
    client.request(&Request::get(&file.content)).await.unwrap();
    assert_eq!(client.head().await.unwrap().status, 200);
    for request in routes::requests(file.id).into_iter().chain([Request::get("/no/such/route")]) {
        problem(&service.ask(request).await, 503, "busy");
    }
    for probe in ["/livez", "/readyz"] {
        assert_eq!(service.ask(Request::get(probe)).await.status, 200, "{probe}");
    }
    drop(client);
    eventually("the place is free", async || service.app.requests.available_permits() == 1).await;
    assert_eq!(service.ask(Request::get(&file.record)).await.status, 200);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn slow_clients_of_every_kind_leave_places_for_short_requests(database: PgPool) {
    let service = Service::start(&database, &["--memory-limit", "64MiB"]).await;
    let file = service.plant(&content(8 << 20)).await;
    rows::plant(&database, 20_000, "a", "text/plain").await;
    let upload = Request::new("POST", "/v1/files?name=slow").field("content-length", "100000");
    let download = Request::get(&file.content);
    let export = Request::get("/v1/files/export");
    let app = &service.app;
    let mut clients = Vec::new();
    for (request, permits) in
        [(upload, &app.uploads), (download, &app.downloads), (export, &app.pages)]
    {
        for _ in 0..permits.available_permits() {
            let mut client = Client::connect_narrow(service.address, 16 << 10).await.unwrap();
            client.request(&request).await.unwrap();
            clients.push(client);
        }
        eventually("all are taken", async || permits.available_permits() == 0).await;
        problem(&service.ask(request).await, 503, "busy");
    }
    let stats = format!("{}/stats", file.record);
    for (target, status) in [(&*file.record, 200), (&*stats, 200), ("/no/such/route", 404)] {
        let answer = service.ask(Request::get(target)).await;
        assert_eq!(answer.status, status, "{target}: {}", answer.text());
    }
    drop(clients);
    assert_eq!(service.ask(Request::delete(&file.record)).await.status, 204);
    rows::clear(&database).await;
    service.end().await;
}
