//! SIGTERM, with an upload, a download and an export in flight.

use std::time::{Duration, Instant};

use tests::{Client, Request, Target, eventually};

use crate::rig::Ground;

/// More than sockets take in for a client that does not read, in bytes.
const LARGE: usize = 16 << 20;

/// A reader's receive buffer, in bytes.
const NARROW: u32 = 16 << 10;

struct InFlight {
    upload: Client,
    download: Client,
    export: Client,
}

/// One of each, begun and not at its end.
async fn begin(ground: &Ground, server: &Target) -> InFlight {
    let mut client = Client::connect(server.address).await.unwrap();
    let large = Request::post("/v1/files?name=large", vec![7; LARGE]);
    let created = client.exchange(&large).await.unwrap();
    assert_eq!(created.status, 201);
    let content = format!("{}/content", created.field("location").unwrap());
    // A large upload is its connection's last request.
    let mut client = Client::connect(server.address).await.unwrap();
    for _ in 0..2_000 {
        // Long names make an export that sockets do not take in at once.
        let name = "n".repeat(250);
        let small = Request::post(format!("/v1/files?name={name}"), "");
        assert_eq!(client.exchange(&small).await.unwrap().status, 201);
    }
    let mut upload = Client::connect(server.address).await.unwrap();
    upload.request(&Request::post("/v1/files?name=a", "hello").body("hell")).await.unwrap();
    let slow = async |target: &str| {
        let mut client = Client::connect_narrow(server.address, NARROW).await.unwrap();
        client.request(&Request::get(target)).await.unwrap();
        assert_eq!(client.head().await.unwrap().status, 200);
        client
    };
    let (download, export) = (slow(&content).await, slow("/v1/files/export").await);
    eventually("the upload is staged", async || ground.staged() == 1).await;
    InFlight { upload, download, export }
}

async fn refuses(server: &Target) {
    eventually("nobody listens", async || Client::connect(server.address).await.is_err()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_ends_whole_within_the_deadline() {
    let ground = Ground::new().await;
    let mut server = ground.server(&[]);
    let InFlight { mut upload, mut download, mut export } = begin(&ground, &server).await;
    server.signal("TERM");
    refuses(&server).await;
    upload.send("o").await.unwrap();
    assert_eq!(upload.response(false).await.unwrap().status, 201);
    assert!(download.read(LARGE).await.unwrap().iter().all(|byte| *byte == 7));
    let exported = export.rest().await.unwrap();
    assert!(exported.ends_with(b"\r\n0\r\n\r\n"), "it is whole");
    drop(download);
    let status = server.ended(Duration::from_secs(10)).expect("it ends with the last of them");
    assert_eq!(status.code(), Some(0));
    assert!(ground.is_whole().await);
    assert_eq!(ground.records().await.len(), 2_002);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_past_the_deadline_is_cut_off() {
    let ground = Ground::new().await;
    let mut server = ground.server(&["--shutdown-timeout", "1s"]);
    let InFlight { mut upload, mut download, mut export } = begin(&ground, &server).await;
    let begin = Instant::now();
    server.signal("TERM");
    let status = server.ended(Duration::from_secs(10)).expect("it ends at the deadline");
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(status.code(), Some(3));
    assert_eq!(upload.end().await.unwrap(), b"");
    assert!(download.end().await.unwrap().len() < LARGE);
    assert!(!export.end().await.unwrap().ends_with(b"\r\n0\r\n\r\n"), "it seems whole");
    assert!(ground.is_whole().await, "nothing of the upload is left");
    assert_eq!(ground.records().await.len(), 2_001);
}
