//! A Postgres that stops, or stalls, under load.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use tests::{Client, Request, Target, eventually};

use crate::rig::load::digest;
use crate::rig::{Ground, Load, Postgres, Told};

/// What a request may be told while the database is away, and before and after.
const FINE: [u16; 5] = [200, 201, 204, 404, 503];

/// How long the load goes on before, during and after.
const WHILE: Duration = Duration::from_secs(1);

/// For an answer that has come.
const LEEWAY: Duration = Duration::from_millis(500);

/// Longer than the service waits for the database's answer, and for a connection.
const GIVEN_UP: Duration = Duration::from_secs(18);

async fn status(server: &Target, path: &str) -> u16 {
    let mut client = Client::connect(server.address).await.unwrap();
    client.exchange(&Request::get(path)).await.unwrap().status
}

async fn ready(server: &Target, expected: u16) {
    eventually("readiness follows", async || status(server, "/readyz").await == expected).await;
    assert_eq!(status(server, "/livez").await, 200);
}

/// What came between two looks.
fn between(before: &Told, after: &Told) -> BTreeMap<u16, usize> {
    let count = |status, count: &usize| {
        (status, count - before.statuses.get(&status).copied().unwrap_or(0))
    };
    let counts = after.statuses.iter().map(|(status, now)| count(*status, now));
    counts.filter(|(_, count)| *count > 0).collect()
}

/// The load goes on, and nothing fails any more.
async fn recovered(load: &Load) {
    let before = load.told();
    tokio::time::sleep(WHILE).await;
    let after = between(&before, &load.told());
    assert!(after.get(&201).is_some_and(|count| *count > 0), "{after:?}");
    assert!(!after.contains_key(&503), "{after:?}");
}

/// All that was answered 201 is there and whole; then, after a sweep, content and
/// records are of the same files.
async fn nothing_is_lost(ground: &Ground, server: Target, told: &Told) {
    assert_eq!(told.wrong, [""; 0]);
    assert!(told.statuses.keys().all(|status| FINE.contains(status)), "{:?}", told.statuses);
    let mut client = Client::connect(server.address).await.unwrap();
    for (id, expected) in &told.created {
        let got = client.exchange(&Request::get(format!("/v1/files/{id}/content"))).await.unwrap();
        if told.deleted.contains(id) || (told.perhaps_deleted.contains(id) && got.status == 404) {
            assert_eq!(got.status, 404, "{id} was deleted");
        } else {
            assert_eq!((got.status, &digest(&got.body)), (200, expected), "{id}");
        }
    }
    drop(client);
    assert!(server.stop().success());
    ground.age();
    let server = ground.server(&[]);
    eventually("what is left is swept", async || ground.is_whole().await).await;
    assert!(server.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stops_is_waited_for_by_the_clients() {
    let mut postgres = Postgres::start("stop");
    let ground = Ground::with(postgres.url());
    let server = ground.server(&["--pool-timeout", "500ms"]);
    let load = Load::start(server.address);
    for _ in 0..2 {
        tokio::time::sleep(WHILE).await;
        let before = load.told();
        postgres.stop();
        ready(&server, 503).await;
        tokio::time::sleep(WHILE).await;
        let during = between(&before, &load.told());
        assert!(during.get(&503).is_some_and(|count| *count > 5), "{during:?}");
        postgres.start_again();
        ready(&server, 200).await;
        recovered(&load).await;
    }
    let told = load.end().await;
    println!("{:?}, {} broken off", told.statuses, told.broken);
    assert_eq!(told.broken, 0, "every request has an answer");
    nothing_is_lost(&ground, server, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stalls_is_given_up_and_comes_back() {
    let postgres = Postgres::start("stall");
    let ground = Ground::with(postgres.url());
    // As many connections as there are requests: each waits for an answer, not for a turn.
    let server = ground.server(&["--pool-timeout", "500ms", "--pool-connections", "16"]);
    let load = Load::start(server.address);
    tokio::time::sleep(WHILE).await;
    // Some wait for an answer at that moment: a lock makes them.
    let mut lock = PgConnection::connect(ground.url()).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE files IN ACCESS EXCLUSIVE MODE")
        .execute(&mut lock)
        .await
        .unwrap();
    let mut waiting = Vec::new();
    for target in ["/v1/files", "/v1/files/export"] {
        let mut client = Client::connect(server.address).await.unwrap();
        client.request(&Request::get(target)).await.unwrap();
        waiting.push(client);
    }
    eventually("they wait", async || {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                     AND query LIKE '%ORDER BY id DESC%'";
        sqlx::query_scalar::<_, i64>(query).fetch_one(&mut lock).await.unwrap() >= 2
    })
    .await;
    let before = load.told();
    let stalled = postgres.stall();
    let begin = Instant::now();
    ready(&server, 503).await;
    // Some leave in the middle of a query: what they leave behind is closed.
    for _ in 0..20 {
        let mut client = Client::connect(server.address).await.unwrap();
        client.request(&Request::get("/v1/files")).await.unwrap();
        assert_eq!(status(&server, "/livez").await, 200);
    }
    while begin.elapsed() < GIVEN_UP {
        let probe = Instant::now();
        assert_eq!(status(&server, "/livez").await, 200);
        assert!(probe.elapsed() < Duration::from_secs(1), "{:?}", probe.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let during = between(&before, &load.told());
    assert!(during.get(&503).is_some_and(|count| *count > 5), "{during:?}");
    for mut client in waiting {
        let answer = tokio::time::timeout(LEEWAY, client.response(false)).await;
        let answer = answer.expect("it was given up").unwrap();
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    }
    drop(stalled);
    drop(lock);
    ready(&server, 200).await;
    recovered(&load).await;
    let told = load.end().await;
    println!("during the stall {during:?}, in all {:?}, {} broken off", told.statuses, told.broken);
    assert_eq!(told.broken, 0, "every request has an answer");
    nothing_is_lost(&ground, server, &told).await;
}
