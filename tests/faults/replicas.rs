//! Two servers on one database and one folder.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::{Client, Request, Response, Target, eventually};

use crate::rig::load::digest;
use crate::rig::{Ground, Load};

/// More than sockets take in for a client that does not read, in bytes.
const LARGE: usize = 16 << 20;

async fn ask(server: &Target, request: Request) -> Response {
    Client::connect(server.address).await.unwrap().exchange(&request).await.unwrap()
}

/// Both follow what the other changes, once both listen to the database.
async fn listening(one: &Target, other: &Target) {
    let post = Request::post("/v1/files?name=probe", "");
    let probe = ask(one, post).await.field("location").unwrap().to_owned();
    let mut turn = 0;
    for (changes, follows) in [(one, other), (other, one)] {
        eventually("changes are followed", async || {
            turn += 1;
            ask(follows, Request::get(&probe)).await;
            let name = format!(r#"{{"name":"{turn}"}}"#);
            ask(changes, Request::patch(&probe, name)).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            let answer = ask(follows, Request::get(&probe)).await;
            answer.text().contains(&format!(r#""name":"{turn}""#))
        })
        .await;
    }
    ask(one, Request::delete(&probe)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_takes_the_other_gives_and_a_change_is_seen_by_both() {
    let ground = Ground::new().await;
    let (one, other) = (ground.server(&[]), ground.server(&[]));
    listening(&one, &other).await;
    let created = ask(&one, Request::post("/v1/files?name=a", "hello")).await;
    let path = created.field("location").unwrap().to_owned();
    assert_eq!(ask(&other, Request::get(format!("{path}/content"))).await.text(), "hello");

    // Both have it in their cache from here on.
    for server in [&one, &other] {
        assert!(ask(server, Request::get(&path)).await.text().contains(r#""name":"a""#));
    }
    assert_eq!(ask(&one, Request::patch(&path, r#"{"name":"b"}"#)).await.status, 200);
    eventually("the other hears of it", async || {
        ask(&other, Request::get(&path)).await.text().contains(r#""name":"b""#)
    })
    .await;

    // Of two changes to one state, one is told that it came second.
    let etag = ask(&one, Request::get(&path)).await.field("etag").unwrap().to_owned();
    let rename = |name: &str| {
        Request::patch(&path, format!(r#"{{"name":"{name}"}}"#)).field("if-match", &etag)
    };
    let (first, second) = tokio::join!(ask(&one, rename("c")), ask(&other, rename("d")));
    let statuses = BTreeSet::from([first.status, second.status]);
    assert_eq!(statuses, [200, 412].into(), "{} {}", first.text(), second.text());

    assert_eq!(ask(&other, Request::delete(&path)).await.status, 204);
    eventually("the first hears of it", async || {
        ask(&one, Request::get(&path)).await.status == 404
    })
    .await;
    assert!(one.stop().success() && other.stop().success());
    assert!(ground.is_whole().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_of_one_replica_outlives_a_delete_by_the_other() {
    let ground = Ground::new().await;
    let (one, other) = (ground.server(&[]), ground.server(&[]));
    let created = ask(&one, Request::post("/v1/files?name=a", vec![7; LARGE])).await;
    let path = created.field("location").unwrap();
    let mut reader = Client::connect_narrow(one.address, 16 << 10).await.unwrap();
    reader.request(&Request::get(format!("{path}/content"))).await.unwrap();
    assert_eq!(reader.head().await.unwrap().status, 200);
    assert_eq!(ask(&other, Request::delete(path)).await.status, 204);
    assert!(ground.contents().is_empty());
    assert!(reader.read(LARGE).await.unwrap().iter().all(|byte| *byte == 7));
    drop(reader);
    assert!(one.stop().success() && other.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_sweeps_nothing_of_the_other_and_goes_on_without_it() {
    let ground = Ground::new().await;
    let one = ground.server(&[]);
    let load = Load::start(one.address);
    let mut slow = Client::connect(one.address).await.unwrap();
    slow.request(&Request::post("/v1/files?name=slow", "hello").body("hell")).await.unwrap();
    eventually("it is staged", async || ground.staged() > 0).await;
    // What is staged is older than any sweep asks for, but held.
    ground.age_staged();
    // It sweeps at its start, and every second.
    let other = ground.server(&["--sweep-interval", "1s"]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    slow.send("o").await.unwrap();
    assert_eq!(slow.response(false).await.unwrap().status, 201);
    one.kill();
    let told = load.end().await;
    assert_eq!(told.wrong, [""; 0]);
    for (id, expected) in &told.created {
        let got = ask(&other, Request::get(format!("/v1/files/{id}/content"))).await;
        let gone = told.deleted.contains(id) || told.perhaps_deleted.contains(id);
        assert!(
            gone || (got.status, &digest(&got.body)) == (200, expected),
            "{id}: {}",
            got.status
        );
    }
    ground.age();
    eventually("what the dead one left is swept", async || ground.is_whole().await).await;
    assert!(other.stop().success());
}
