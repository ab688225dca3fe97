//! File descriptors, all of them in use.

use std::process::Command;
use std::time::Duration;

use tests::{Client, Request, Target, eventually, server_binary};

use crate::rig::Ground;

/// Fewer than connections may be open.
const DESCRIPTORS: u32 = 48;

/// Processor time that the server has used, in the system's ticks (10 ms).
fn ticks(server: &Target) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_it_waits_and_goes_on() {
    let ground = Ground::new().await;
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {DESCRIPTORS} && exec \"$0\" --idle-timeout 60s");
    command.args(["-c", &script]).arg(server_binary());
    ground.equip(&mut command);
    let mut server = Target::start(command);
    let mut first = Client::connect(server.address).await.unwrap();
    let post = |content: &str| Request::post("/v1/files?name=a", content);
    assert_eq!(first.exchange(&post("before")).await.unwrap().status, 201);

    // The kernel takes connections that the server can't.
    let mut crowd = Vec::new();
    for _ in 0..2 * DESCRIPTORS {
        let mut client = Client::connect(server.address).await.unwrap();
        client.request(&Request::get("/livez")).await.unwrap();
        crowd.push(client);
    }
    eventually("it has no more", async || {
        server.log().iter().any(|line| line.contains("accepting failed"))
    })
    .await;
    assert_eq!(first.exchange(&Request::get("/livez")).await.unwrap().status, 200);
    // It does not spin meanwhile: less than a third of a processor.
    let before = ticks(&server);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = ticks(&server) - before;
    assert!(used < 33, "{used} ticks of 10 ms in a second");
    // Who is there is told that an upload can't be.
    let told = first.exchange(&post("during")).await.unwrap();
    assert_eq!((told.status, told.field("retry-after")), (503, Some("1")), "{}", told.text());

    drop(crowd);
    let mut late = Client::connect(server.address).await.unwrap();
    assert_eq!(late.exchange(&post("after")).await.unwrap().status, 201);
    assert!(server.alive());
    assert!(server.stop().success());
    assert!(ground.is_whole().await);
}
