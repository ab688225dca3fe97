//! The gauge: what is refused while memory is short, and that it comes back.
//!
//! What it reads is the test's: [`Service::figures`].

use budget::Figures;
use budget::gauge::Charge;
use sqlx::PgPool;
use tests::{Client, Request, Response};

use crate::rig::{File, Service, content, eventually, problem, routes, rows};

/// As the rig starts it: 1 GiB.
const LIMIT: u64 = 1 << 30;

const POST: &str = "/v1/files?name=a";

/// So much of the limit, in percent; some bytes above, so that none is lost by cutting.
fn resident(percent: u64) -> Figures {
    Figures { resident: Some(LIMIT / 100 * percent + 100), ..Figures::default() }
}

/// Waits until the gauge has seen these figures, and says so on the admin listener.
async fn read(service: &Service, figures: Figures) {
    *service.figures.lock().unwrap() = figures;
    let seen = format!("overload_memory_pressure {}\n", figures.percent(LIMIT));
    eventually("the gauge reads it", async || metrics(service).await.contains(&seen)).await;
}

async fn metrics(service: &Service) -> String {
    let mut client = Client::connect(service.admin).await.unwrap();
    let answer = client.exchange(&Request::get("/metrics")).await.unwrap();
    let content_type = answer.field("content-type");
    assert_eq!(content_type, Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(answer.status, 200);
    answer.text()
}

fn form() -> Request {
    let body = "--XX\r\nContent-Disposition: form-data; filename=\"a\"\r\n\r\nhello\r\n--XX--\r\n";
    Request::post("/v1/files", body).field("content-type", "multipart/form-data; boundary=XX")
}

fn gzip(target: &str) -> Request {
    Request::get(target).field("accept-encoding", "gzip")
}

/// Asks on a connection of its own, which has to end with the answer.
async fn last_of_its_connection(service: &Service, request: Request) -> Response {
    let mut client = service.client().await;
    let answer = client.exchange(&request).await.unwrap();
    assert_eq!(answer.field("connection"), Some("close"), "{}", answer.text());
    assert_eq!(client.end().await.unwrap(), b"");
    answer
}

/// Uploads, a form, an export and an encoder are there, and a connection stays.
async fn all_is_served(service: &Service) {
    let mut client = service.client().await;
    for request in [Request::post(POST, "hello"), form()] {
        let answer = client.exchange(&request).await.unwrap();
        assert_eq!((answer.status, answer.field("connection")), (201, None), "{}", answer.text());
    }
    for target in ["/v1/files", "/v1/files/export"] {
        let answer = client.exchange(&gzip(target)).await.unwrap();
        assert_eq!((answer.status, answer.field("connection")), (200, None));
        assert_eq!(answer.field("content-encoding"), Some("gzip"), "{target}");
    }
}

/// An upload that lacks its last byte.
async fn begin(service: &Service) -> Client {
    service.at_rest().await;
    let free = service.free_uploads();
    let mut client = service.client().await;
    client.request(&Request::post(POST, "hello").body("hell")).await.unwrap();
    eventually("it is in flight", async || service.free_uploads() < free).await;
    client
}

async fn probes_are_answered(service: &Service) {
    for address in [service.address, service.admin] {
        for probe in ["/livez", "/readyz"] {
            let mut client = Client::connect(address).await.unwrap();
            let answer = client.exchange(&Request::get(probe)).await.unwrap();
            assert_eq!(answer.status, 200, "{probe}: {}", answer.text());
        }
    }
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn past_the_first_threshold_nothing_large_is_begun_and_connections_end(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    rows::plant(&database, 50, "planted", "b").await;
    let file = service.store("a", content(50_000)).await;
    read(&service, resident(91)).await;
    all_is_served(&service).await;
    let mut begun = begin(&service).await;

    read(&service, resident(92)).await;
    for request in [Request::post(POST, "hello"), form(), gzip("/v1/files/export")] {
        let detail = problem(&last_of_its_connection(&service, request).await, 503, "busy");
        assert!(detail.contains("memory"), "{detail}");
    }
    let plain = last_of_its_connection(&service, gzip("/v1/files")).await;
    assert_eq!((plain.status, plain.field("content-encoding")), (200, None));
    assert!(plain.fields.contains(&("vary".to_owned(), "accept-encoding".to_owned())));
    let stats = format!("{}/stats", file.record);
    for (request, status) in [
        (Request::get("/v1/files?limit=1"), 200),
        (Request::get(&file.record), 200),
        (Request::get(stats), 200),
        (Request::patch(&file.record, "{\"name\":\"b\"}"), 200),
        (Request::get("/none"), 404),
    ] {
        assert_eq!(last_of_its_connection(&service, request).await.status, status);
    }
    let got = last_of_its_connection(&service, Request::get(&file.content)).await;
    assert!(got.body == content(50_000));
    assert_eq!(last_of_its_connection(&service, Request::delete(&file.record)).await.status, 204);
    probes_are_answered(&service).await;
    // What was begun goes on.
    begun.send("o").await.unwrap();
    File::of(&begun.response(false).await.unwrap());
    assert_eq!(begun.end().await.unwrap(), b"");

    // Not before the lower threshold.
    read(&service, resident(90)).await;
    problem(&service.ask(Request::post(POST, "hello")).await, 503, "busy");
    read(&service, resident(89)).await;
    all_is_served(&service).await;
    rows::remove(&database, 50, "planted").await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn past_the_second_threshold_only_probes_are_answered(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let mut begun = begin(&service).await;
    read(&service, resident(94)).await;
    assert_eq!(service.ask(Request::get(&file.record)).await.status, 200);

    for figure in [
        resident(95),
        Figures { live_heap: resident(99).resident, ..Figures::default() },
        Figures { group: Some(Charge { bytes: 98, limit: 100 }), ..resident(10) },
    ] {
        read(&service, figure).await;
        let all = routes::requests(file.id).into_iter().chain([Request::get("/no/such/route")]);
        for request in all {
            problem(&last_of_its_connection(&service, request).await, 503, "busy");
        }
        probes_are_answered(&service).await;
    }
    begun.send("o").await.unwrap();
    File::of(&begun.response(false).await.unwrap());

    // It ends as it began, a level at a time or at once.
    read(&service, resident(92)).await;
    problem(&service.ask(Request::get(&file.record)).await, 503, "busy");
    read(&service, resident(91)).await;
    assert_eq!(service.ask(Request::get(&file.record)).await.status, 200);
    problem(&service.ask(Request::post(POST, "hello")).await, 503, "busy");
    read(&service, resident(97)).await;
    problem(&service.ask(Request::get(&file.record)).await, 503, "busy");
    read(&service, Figures::default()).await;
    rows::plant(&database, 50, "planted", "b").await;
    all_is_served(&service).await;
    rows::remove(&database, 50, "planted").await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn each_change_is_counted_and_shown_in_metrics(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for (percent, level, changes) in [
        (91, "normal", 0),
        (93, "high", 1),
        (91, "high", 1),
        (93, "high", 1),
        (96, "critical", 2),
        (94, "critical", 2),
        (91, "high", 3),
        (70, "normal", 4),
        (99, "critical", 5),
    ] {
        read(&service, resident(percent)).await;
        let metrics = metrics(&service).await;
        let active = |name: &str, is: bool| format!("overload_{name}_active {}\n", u8::from(is));
        for line in [
            active("high", level != "normal"),
            active("critical", level == "critical"),
            format!("overload_changes_total {changes}\n"),
            format!("process_resident_memory_bytes {}\n", resident(percent).resident.unwrap()),
            format!("memory_limit_bytes {LIMIT}\n"),
        ] {
            assert!(metrics.contains(&line), "{percent}: {line} in {metrics}");
        }
    }
    service.end().await;
}
