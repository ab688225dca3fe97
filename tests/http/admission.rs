//! Admission: so many requests in flight, each to the end of its response.

use sqlx::PgPool;
use tests::{Client, Request};

use crate::rig::{Service, content, eventually, problem, routes};

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
