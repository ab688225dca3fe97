//! A disk that does not answer: a pipe in the place of a file stands still as one.

use std::process::Command;
use std::time::{Duration, Instant};

use tests::{Client, Request};

use crate::rig::Ground;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_does_not_hold_the_shutdown_up() {
    let ground = Ground::new().await;
    let mut server = ground.server(&["--shutdown-timeout", "1s"]);
    let mut client = Client::connect(server.address).await.unwrap();
    let post = Request::post("/v1/files?name=a", "hello");
    let created = client.exchange(&post).await.unwrap();
    assert_eq!(created.status, 201);
    let path = created.field("location").unwrap();
    let file = ground.content().join(path.trim_start_matches("/v1/files/"));
    std::fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let mut reader = Client::connect(server.address).await.unwrap();
        reader.request(&Request::get(format!("{path}/content"))).await.unwrap();
        waiting.push(reader);
    }
    // The others are answered, and so is the signal.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(client.exchange(&Request::get("/livez")).await.unwrap().status, 200);
    let begin = Instant::now();
    server.signal("TERM");
    let status = server.ended(Duration::from_secs(10)).expect("it ends");
    assert_eq!(status.code(), Some(3), "after {:?}", begin.elapsed());
    std::fs::remove_file(file).unwrap();
}
