//! Errors: each is a problem document (RFC 9457), and says no more than it may.

use sqlx::{AssertSqlSafe, PgPool};
use tests::{Request, Response};

use crate::rig::{Service, problem, routes};

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_is_no_route_is_not_found(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let long = format!("/{}", "a".repeat(10_000));
    let beyond_ascii = format!("/a{}", "é".repeat(200));
    for target in [
        "/",
        "/v1",
        "/v1/files/",
        "//v1/files",
        "/v1/files/x/content/",
        "/v1/files/x/contents",
        "/v1/files/../files",
        "/V1/files",
        "/%2e%2e/etc/passwd",
        "/livez/",
        "/?a=b",
        &long,
        &beyond_ascii,
    ] {
        for method in ["GET", "POST", "DELETE", "PUT", "OPTIONS", "BREW"] {
            let answer = service.ask(Request::new(method, target)).await;
            problem(&answer, 404, "no-such-route");
        }
        let head = service.ask(Request::head(target)).await;
        assert_eq!((head.status, head.text().as_str()), (404, ""));
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_method_that_is_not_allowed_is_told_which_are(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let probes = routes::PROBES.map(|(target, allowed)| (target.to_owned(), allowed));
    for (target, allowed) in routes::targets(file.id).chain(probes) {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            if allowed.contains(method) {
                continue;
            }
            let answer = service.ask(Request::new(method, &target)).await;
            problem(&answer, 405, "http");
            let allow = answer.field("allow").unwrap_or_default();
            let mut methods: Vec<&str> = allow.split(',').map(str::trim).collect();
            methods.sort_unstable();
            assert_eq!(methods.join(", "), allowed, "{method} {target}");
        }
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn every_response_has_an_id_of_ours(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let id = |answer: Response| answer.field("x-request-id").unwrap().to_owned();
    let mut ids = Vec::new();
    for target in ["/livez", "/none", &file.record, &file.content, "/v1/files"] {
        for _ in 0..2 {
            let request = Request::get(target).field("x-request-id", "theirs");
            ids.push(id(service.ask(request.field("x-request-id", "also theirs")).await));
        }
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(ids.iter().all(|id| id.parse::<uuid::Uuid>().is_ok()), "{ids:?}");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_query_that_fails_is_in_the_log_and_not_in_the_answer(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let rename = |from: &str, to: &str| AssertSqlSafe(format!("ALTER TABLE {from} RENAME TO {to}"));
    sqlx::query(rename("files", "elsewhere")).execute(&database).await.unwrap();
    for request in routes::requests(file.id) {
        problem(&service.ask(request).await, 500, "internal");
    }
    assert_eq!(service.ask(Request::head(&file.content)).await.status, 500);
    sqlx::query(rename("elsewhere", "files")).execute(&database).await.unwrap();
    assert_eq!(service.ask(Request::get(&file.record)).await.status, 200);
    service.end().await;
}
