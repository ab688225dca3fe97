//! Rate limit: who asks too often is told to wait, and nobody else.

use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use tests::{Request, Response};

use crate::rig::{Service, problem, routes};

const BURST: usize = 3;
const SLOW: [&str; 4] = ["--rate-limit-burst", "3", "--rate-limit-period", "1h"];

fn refused(answer: &Response) {
    problem(answer, 429, "too-many-requests");
}

/// Asks as the client that a proxy has seen at `address`.
async fn as_from(service: &Service, address: &str) -> Response {
    service.ask(Request::get("/v1/files").field("x-forwarded-for", address)).await
}

async fn exhaust(service: &Service, address: &str) {
    for _ in 0..BURST {
        assert_eq!(as_from(service, address).await.status, 200, "{address}");
    }
    refused(&as_from(service, address).await);
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn who_asks_too_often_is_told_when_to_come_again(database: PgPool) {
    let service = Service::start(&database, &SLOW).await;
    for _ in 0..BURST {
        assert_eq!(service.ask(Request::get("/v1/files")).await.status, 200);
    }
    let answer = service.ask(Request::get("/v1/files")).await;
    refused(&answer);
    let seconds: u32 = answer.field("retry-after").unwrap().parse().unwrap();
    assert!((3590..=3601).contains(&seconds), "{seconds}");
    for request in routes::requests(uuid::Uuid::nil()) {
        refused(&service.ask(request).await);
    }
    // What a client forges makes it no other client: no proxy is trusted.
    refused(&as_from(&service, "192.0.2.77").await);
    // Whoever watches the service is not shut out by whoever floods it.
    assert_eq!(service.ask(Request::get("/livez")).await.status, 200);
    assert_eq!(service.ask(Request::get("/readyz")).await.status, 200);
    assert_eq!(service.ask(Request::get("/readyz")).await.status, 200);
    refused(&service.ask(Request::get("/livez")).await);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn behind_a_proxy_a_client_is_who_the_proxy_saw(database: PgPool) {
    let flags = [&SLOW[..], &["--trusted-proxies", "1"]].concat();
    let service = Service::start(&database, &flags).await;
    exhaust(&service, "192.0.2.1").await;
    exhaust(&service, "192.0.2.2").await;
    refused(&as_from(&service, "198.51.100.1, 192.0.2.1").await);
    refused(&as_from(&service, "::ffff:192.0.2.1").await);
    exhaust(&service, "2001:db8:1:2::1").await;
    refused(&as_from(&service, "2001:db8:1:2:ffff::9").await);
    assert_eq!(as_from(&service, "2001:db8:1:3::1").await.status, 200, "another /64");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_token_has_a_limit_of_its_own(database: PgPool) {
    let hash: String = Sha256::digest("secret").iter().map(|byte| format!("{byte:02x}")).collect();
    let flags = [&SLOW[..], &["--tokens-sha256", &hash]].concat();
    let service = Service::start(&database, &flags).await;
    let with = |token| Request::get("/v1/files").field("authorization", format!("Bearer {token}"));
    // Guesses cost the guesser's address, not the bearer.
    for _ in 0..BURST {
        assert_eq!(service.ask(with("guess")).await.status, 401);
    }
    refused(&service.ask(with("guess")).await);
    for _ in 0..BURST {
        assert_eq!(service.ask(with("secret")).await.status, 200);
    }
    refused(&service.ask(with("secret")).await);
    service.end().await;
}

/// A /48 is 65,536 networks: who walks it takes many buckets, and shuts out those
/// few who share one; nobody who has a token.
#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn who_walks_many_networks_shuts_few_others_out(database: PgPool) {
    let hash: String = Sha256::digest("secret").iter().map(|byte| format!("{byte:02x}")).collect();
    let flags = ["--rate-limit-burst", "1", "--rate-limit-period", "1h", "--trusted-proxies", "1"];
    let service =
        Service::start(&database, &[&flags[..], &["--tokens-sha256", &hash]].concat()).await;
    let mut proxy = service.client().await;
    let mut refused_from = async |address: String| {
        let request = Request::get("/v1/files").field("x-forwarded-for", address);
        let answer = proxy.exchange(&request).await.unwrap();
        assert!(matches!(answer.status, 401 | 429), "{}", answer.status);
        answer.status == 429
    };
    let mut early = 0;
    for network in 0..2000 {
        early += usize::from(refused_from(format!("2001:db8:1:{network:x}::1")).await);
    }
    // 30 are to be expected.
    assert!(early < 150, "{early} of 2000 new networks were refused");
    for network in [0, 999, 1999] {
        assert!(refused_from(format!("2001:db8:1:{network:x}::2")).await, "{network} came again");
    }
    let mut shut_out = 0;
    for host in 1..=200 {
        shut_out += usize::from(refused_from(format!("192.0.2.{host}")).await);
    }
    // 6 are to be expected.
    assert!(shut_out < 50, "{shut_out} of 200 others were refused");
    let bearer = Request::get("/v1/files").field("authorization", "Bearer secret");
    assert_eq!(service.ask(bearer).await.status, 200);
    service.end().await;
}
