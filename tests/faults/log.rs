//! A log that nobody reads, or that can't be written.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use tests::{Client, Request};

use crate::rig::Ground;

/// Each is a line; together they are several times what a pipe takes (64 KiB).
const REQUESTS: usize = 1_000;

/// A server whose log is the test's to read, or not. Killed when dropped.
struct Mute {
    child: Child,
    address: SocketAddr,
}

impl Mute {
    fn start(ground: &Ground) -> (Self, BufReader<ChildStderr>) {
        let mut command: Command = ground.command();
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on http://") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the server did not start");
        }
        let (_, rest) = line.split_once("listening on http://").unwrap();
        let address = rest.split('"').next().unwrap().parse().unwrap();
        (Self { child, address }, log)
    }

    /// It serves, and ends when it is told to.
    async fn goes_on(mut self, ground: &Ground) {
        let mut client = Client::connect(self.address).await.unwrap();
        for _ in 0..REQUESTS {
            let answer = client.exchange(&Request::get("/v1/files")).await.unwrap();
            assert_eq!(answer.status, 200);
        }
        let post = Request::post("/v1/files?name=a", "hello");
        assert_eq!(client.exchange(&post).await.unwrap().status, 201);
        drop(client);
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "it does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(status.code(), Some(0));
        assert!(ground.is_whole().await);
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_stops_nothing() {
    let ground = Ground::new().await;
    let (server, log) = Mute::start(&ground);
    server.goes_on(&ground).await;
    drop(log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let ground = Ground::new().await;
    let (server, log) = Mute::start(&ground);
    drop(log);
    server.goes_on(&ground).await;
}
