//! Who may ask: bearers of a token; without tokens, this machine's own.

use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use tests::Request;
use uuid::Uuid;

use crate::rig::{File, Service, problem, routes};

fn hash(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every route, and one that is none.
fn every_route() -> impl Iterator<Item = Request> {
    routes::requests(Uuid::nil()).into_iter().chain([Request::get("/no/such/route")])
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn without_its_token_nothing_is_told(database: PgPool) {
    let hashes = format!("{},{}", hash("secret"), hash("other-secret"));
    let service = Service::start(&database, &["--tokens-sha256", &hashes]).await;
    for value in [
        None,
        Some("Bearer wrong"),
        Some("Bearer "),
        Some("Bearer"),
        Some(""),
        Some("secret"),
        Some("Basic secret"),
        Some("Digest secret"),
        Some("Bearer secre"),
        Some("Bearer secret2"),
        Some("Bearer secret,secret"),
        Some(&format!("Bearer {}", hash("secret"))),
    ] {
        for request in every_route() {
            let request = match value {
                Some(value) => request.field("authorization", value),
                None => request,
            };
            let answer = service.ask(request).await;
            problem(&answer, 401, "unauthorized");
            assert_eq!(answer.field("www-authenticate"), Some("Bearer"), "{value:?}");
        }
    }
    let twice = Request::get("/v1/files/x").field("authorization", "Bearer secret");
    problem(&service.ask(twice.field("authorization", "Bearer secret")).await, 401, "unauthorized");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn the_bearer_of_a_token_may_ask_from_anywhere(database: PgPool) {
    let hashes = format!("{},{}", hash("secret"), hash("other-secret"));
    let service = Service::start(&database, &["--tokens-sha256", &hashes]).await;
    for value in
        ["Bearer secret", "bearer secret", "BEARER secret", "Bearer  secret", "Bearer other-secret"]
    {
        let request = Request::post("/v1/files?name=a", "x").field("authorization", value);
        File::of(&service.ask(request.clone().field("host", "files.example")).await);
        File::of(&service.ask(request.field("origin", "http://elsewhere.example")).await);
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn without_tokens_pages_from_elsewhere_are_refused(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let host = service.address.to_string();
    let port = service.address.port();
    for (name, value) in [
        ("host", "files.example".to_owned()),
        ("host", format!("files.example:{port}")),
        ("host", format!("127.0.0.1.example:{port}")),
        ("host", "192.168.0.1".to_owned()),
        ("host", String::new()),
        ("host", "a b".to_owned()),
        ("origin", "http://elsewhere.example".to_owned()),
        ("origin", "http://127.0.0.1:1".to_owned()),
        ("origin", format!("https://{host}")),
        ("origin", format!("http://localhost:{port}")),
        ("origin", "null".to_owned()),
        ("origin", String::new()),
        ("sec-fetch-site", "cross-site".to_owned()),
        ("sec-fetch-site", "same-site".to_owned()),
    ] {
        for request in every_route() {
            let answer = service.ask(request.field(name, &value)).await;
            assert!(matches!(answer.status, 400 | 403), "{name}: {value}: {}", answer.status);
            if answer.status == 403 {
                problem(&answer, 403, "foreign-origin");
            }
        }
    }
    let target = Request::get(format!("http://files.example:{port}/v1/files/x"));
    problem(&service.ask(target).await, 403, "foreign-origin");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn without_tokens_this_machine_may_ask(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let port = service.address.port();
    for host in [
        format!("localhost:{port}"),
        "LOCALHOST".to_owned(),
        "127.0.0.1".to_owned(),
        "[::1]".to_owned(),
    ] {
        let post = Request::post("/v1/files?name=a", "x").field("host", &host);
        File::of(&service.ask(post.clone()).await);
        let own = post.field("origin", format!("http://{host}"));
        File::of(&service.ask(own.clone().field("sec-fetch-site", "same-origin")).await);
        File::of(&service.ask(own.field("sec-fetch-site", "none")).await);
    }
    let target = Request::get(format!("http://127.0.0.1:{port}/livez"));
    assert_eq!(service.ask(target).await.status, 200);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_request_names_one_host(database: PgPool) {
    for flags in [&[][..], &["--tokens-sha256", &hash("secret")]] {
        let service = Service::start(&database, flags).await;
        let host = service.address.to_string();
        for request in every_route().chain([Request::get("/livez")]) {
            let request = request.field("authorization", "Bearer secret");
            let none = service.ask(request.clone().without_host()).await;
            problem(&none, 400, "bad-request");
            let two = service.ask(request.field("host", &host).field("host", &host)).await;
            problem(&two, 400, "bad-request");
        }
        service.end().await;
    }
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn probes_are_open_to_all(database: PgPool) {
    let service = Service::start(&database, &["--tokens-sha256", &hash("secret")]).await;
    for target in ["/livez", "/readyz"] {
        let request = Request::get(target).field("origin", "http://elsewhere.example");
        assert_eq!(service.ask(request.field("host", "10.0.0.1:8080")).await.status, 200);
    }
    // But only the probes.
    for target in ["/livez/", "/livez/x", "//livez", "/readyz%2F", "/LIVEZ"] {
        problem(&service.ask(Request::get(target)).await, 401, "unauthorized");
    }
    service.end().await;
}

/// RFC 9112, section 3.2.2: a target may name its host, and a server must read it.
#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_target_may_name_this_service_as_host_does(database: PgPool) {
    for flags in [&[][..], &["--tokens-sha256", &hash("secret")]] {
        let service = Service::start(&database, flags).await;
        let url = format!("http://{}/v1/files", service.address);
        let with_token = |request: Request| request.field("authorization", "Bearer secret");
        let post = service.ask(with_token(Request::post(format!("{url}?name=a"), "hello"))).await;
        let file = File::of(&post);
        let content = Request::get(format!("{url}/{}/content", file.id));
        assert_eq!(service.ask(with_token(content)).await.text(), "hello");
        let delete = with_token(Request::delete(format!("{url}/{}", file.id)));
        assert_eq!(service.ask(delete).await.status, 204);
        service.end().await;
    }
}

/// The target's host counts, and Host must be the same: where they differ, whatever
/// was checked by one could be asked of the other.
#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_target_that_names_another_host_is_refused(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let (own, port) = (service.address.to_string(), service.address.port());
    let elsewhere = "files.example".to_owned();
    let localhost = format!("localhost:{port}");
    for (target, host) in [
        (&elsewhere, &own),
        (&own, &elsewhere),
        (&elsewhere, &elsewhere),
        (&format!("{own}@files.example"), &own),
        (&format!("files.example@{own}"), &own),
        // Both are this machine's, but the page at one is no page of the other.
        (&format!("127.0.0.1:{}", port ^ 1), &own),
        (&localhost, &own),
    ] {
        let request = Request::get(format!("http://{target}/v1/files")).field("host", host);
        for request in [request.clone(), request.field("origin", format!("http://{host}"))] {
            problem(&service.ask(request).await, 403, "foreign-origin");
        }
    }
    service.end().await;
}
