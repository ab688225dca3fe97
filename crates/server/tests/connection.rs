//! What ends a connection: each deadline by itself, the cap, shutdown. Over a
//! duplex and a paused clock, so that a minute passes in no time.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use http::{Request, Response};
use server::connection::{Settings, Shutdown};
use server::io::{Deadlines, GRACE};
use server::registry::{Connections, Seat};
use server::socket::{LARGE_BODY, LargeBuffers};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tower::service_fn;

const DEADLINES: Deadlines = Deadlines {
    first_byte: Duration::from_secs(5),
    head: Duration::from_secs(10),
    idle: Duration::from_secs(60),
    write: Duration::from_secs(30),
};
/// Large receive buffers.
const LARGE: usize = 1;
/// Longer than anything here takes; the clock is paused.
const NEVER: Duration = Duration::from_secs(7200);
/// What a duplex holds each way, in bytes.
const PIPE: usize = 1024;
const GET: &[u8] = b"GET /ok HTTP/1.1\r\nhost: x\r\n\r\n";

/// Answers by path; `/unread` leaves the request's body alone.
async fn answer(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(match request.uri().path() {
        "/hour" => {
            sleep(Duration::from_secs(3600)).await;
            Body::from("late")
        }
        "/read" => {
            let mut data = request.into_body().into_data_stream();
            while let Some(data) = data.next().await {
                assert!(!data.unwrap().is_empty());
            }
            Body::from("ok")
        }
        "/large" => Body::from(vec![b'x'; 64 * 1024]),
        _ => Body::from("ok"),
    }))
}

struct Server {
    connections: Arc<Connections>,
    settings: Arc<Settings>,
    shutdown: Shutdown,
}

impl Server {
    fn new(places: usize) -> Self {
        let connections = Connections::new(Arc::new(Semaphore::new(places)));
        let large_buffers = Arc::new(LargeBuffers::new(LARGE, 64 * 1024));
        let settings = Arc::new(Settings { buffer: 8192, deadlines: DEADLINES, large_buffers });
        Self { connections, settings, shutdown: Shutdown::default() }
    }

    fn serve(&self, seat: Seat) -> (DuplexStream, JoinHandle<hyper::Result<()>>) {
        let (client, io) = duplex(PIPE);
        let peer = ([127, 0, 0, 1], 1).into();
        let shutdown = self.shutdown.clone();
        let (service, settings) = (service_fn(answer), self.settings.clone());
        #[expect(clippy::disallowed_methods, reason = "the test awaits it")]
        let task = tokio::spawn(server::serve(io, peer, service, settings, seat, shutdown));
        (client, task)
    }

    async fn connect(&self) -> (DuplexStream, JoinHandle<hyper::Result<()>>) {
        self.serve(self.connections.admit().await.unwrap())
    }
}

/// How the connection ended.
async fn ended(task: JoinHandle<hyper::Result<()>>) -> hyper::Result<()> {
    timeout(NEVER, task).await.expect("never ended").unwrap()
}

/// Reads to the end, and says how long that took and what came.
async fn closed_after(client: &mut DuplexStream) -> (u64, Vec<u8>) {
    let (begin, mut bytes) = (Instant::now(), Vec::new());
    let _ = timeout(NEVER, client.read_to_end(&mut bytes)).await.expect("never closed");
    (begin.elapsed().as_secs(), bytes)
}

async fn read_response(client: &mut DuplexStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"ok") {
        head.push(client.read_u8().await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_closed_at_the_first_byte_deadline() {
    let (mut client, task) = Server::new(1).connect().await;
    assert_eq!(closed_after(&mut client).await, (5, vec![]));
    ended(task).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_is_closed_at_its_deadline() {
    let (mut client, task) = Server::new(1).connect().await;
    sleep(Duration::from_secs(4)).await;
    let begin = Instant::now();
    for byte in GET {
        if client.write_u8(*byte).await.is_err() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert!((10..=12).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
    assert!(ended(task).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_at_the_idle_deadline() {
    let (mut client, task) = Server::new(1).connect().await;
    for _ in 0..2 {
        client.write_all(GET).await.unwrap();
        read_response(&mut client).await;
        sleep(Duration::from_secs(50)).await;
    }
    assert_eq!(closed_after(&mut client).await, (10, vec![]));
    ended(task).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_idle_deadline_holds_after_a_response_that_had_to_wait() {
    let (mut client, task) = Server::new(1).connect().await;
    client.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    sleep(Duration::from_secs(20)).await;
    let (after, bytes) = closed_after(&mut client).await;
    assert_eq!(after, 60);
    assert!(bytes.len() > 64 * 1024);
    ended(task).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_closed_at_the_write_deadline() {
    let (mut client, task) = Server::new(1).connect().await;
    let begin = Instant::now();
    client.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(ended(task).await.is_err());
    assert_eq!(begin.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_byte_now_and_then_is_closed_too() {
    let (mut client, task) = Server::new(1).connect().await;
    client.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let begin = Instant::now();
    while !task.is_finished() {
        let _ = client.read_u8().await;
        sleep(Duration::from_secs(1)).await;
        assert!(begin.elapsed().as_secs() < 120, "never closed");
    }
    assert!(ended(task).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_stall_has_a_window_of_its_own_however_old_the_last_one_is() {
    let (mut client, task) = Server::new(1).connect().await;
    let mut bytes = vec![0; 64 * 1024];
    for _ in 0..2 {
        client.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        // A write is pending, and ends with little of its window used.
        sleep(Duration::from_secs(20)).await;
        let mut left = 64 * 1024 + "HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n".len();
        while left > 0 {
            let read = client.read(&mut bytes).await.unwrap();
            assert!(read > 0, "closed after a stall of 20 s");
            left = left.saturating_sub(read);
        }
        sleep(Duration::from_secs(50)).await;
        assert!(!task.is_finished());
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_that_keeps_reading_gets_everything() {
    let (mut client, task) = Server::new(1).connect().await;
    client.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let (mut taken, mut buffer) = (0, [0; 1024]);
    loop {
        let read = client.read(&mut buffer).await.unwrap();
        if read == 0 {
            break;
        }
        taken += read;
        sleep(Duration::from_secs(5)).await; // 205 B/s, five minutes in all
    }
    assert!(taken > 64 * 1024);
    ended(task).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_an_hour_is_not_cut_off() {
    let (mut client, _task) = Server::new(1).connect().await;
    client.write_all(b"GET /hour HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let (after, bytes) = closed_after(&mut client).await;
    assert_eq!(after, 3600);
    assert!(bytes.ends_with(b"late"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_end_of_the_body_is_followed_by_a_bounded_linger() {
    let (client, task) = Server::new(1).connect().await;
    let (mut read, mut write) = tokio::io::split(client);
    write
        .write_all(b"POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n")
        .await
        .unwrap();
    let begin = Instant::now();
    let sending = async {
        let mut sent = 0;
        while write.write_all(&[0; 1024]).await.is_ok() {
            sent += 1024;
        }
        sent
    };
    let reading = async {
        let mut answer = Vec::new();
        let _ = read.read_to_end(&mut answer).await;
        answer
    };
    let (sent, answer) = tokio::join!(sending, reading);
    assert!(answer.ends_with(b"ok"), "{}", String::from_utf8_lossy(&answer));
    assert!((512 * 1024..=2 * 1024 * 1024).contains(&sent), "{sent} bytes were taken");
    assert!(begin.elapsed().as_secs() <= 2);
    ended(task).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn at_the_cap_the_longest_idle_connection_makes_room() {
    let server = Server::new(2);
    let (mut first, _) = server.connect().await;
    let (mut second, _) = server.connect().await;
    for client in [&mut first, &mut second] {
        sleep(Duration::from_secs(1)).await;
        client.write_all(GET).await.unwrap();
        read_response(client).await;
    }
    let (mut third, _) = server.connect().await;
    assert_eq!(closed_after(&mut first).await, (0, vec![]), "the longest idle");
    for client in [&mut second, &mut third] {
        client.write_all(GET).await.unwrap();
        read_response(client).await;
    }
    assert_eq!(server.connections.open(), 2);
}

#[tokio::test(start_paused = true)]
async fn at_the_cap_who_brings_no_head_makes_room_but_not_at_once() {
    for begun in [&b""[..], &GET[..GET.len() - 1]] {
        let server = Server::new(1);
        let (mut client, task) = server.connect().await;
        client.write_all(begun).await.unwrap();
        sleep(GRACE - Duration::from_millis(10)).await;
        assert!(server.connections.admit().await.is_none(), "no time for a head");
        sleep(Duration::from_millis(20)).await;
        let begin = Instant::now();
        assert!(server.connections.admit().await.is_some(), "{begun:?}");
        assert!(begin.elapsed().is_zero(), "{:?}", begin.elapsed());
        assert_eq!(closed_after(&mut client).await, (0, vec![]));
        ended(task).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_cap_no_answer_is_cut_off_for_a_head_behind_it() {
    for method in ["GET", "POST"] {
        let server = Server::new(1);
        let (mut client, _task) = server.connect().await;
        // Of a body that nobody reads, hyper takes what there is, and reads on.
        let request =
            format!("{method} /large HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello");
        client.write_all(request.as_bytes()).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        client.write_all(&GET[..GET.len() - 1]).await.unwrap();
        sleep(2 * GRACE).await;
        assert!(server.connections.admit().await.is_none(), "{method}");
        let (_, bytes) = closed_after(&mut client).await;
        assert!(bytes.len() > 64 * 1024, "{method}: {} bytes", bytes.len());
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_cap_a_body_left_unread_long_ago_does_not_hold_the_place() {
    let server = Server::new(1);
    let (mut client, _task) = server.connect().await;
    // hyper passes over so little, and keeps the connection.
    let post = b"POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello";
    client.write_all(post).await.unwrap();
    read_response(&mut client).await;
    sleep(Duration::from_secs(1)).await;
    let begin = Instant::now();
    assert!(server.connections.admit().await.is_some());
    assert!(begin.elapsed().is_zero(), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_hyper_refuses_is_told_to_who_is_still_sending() {
    let (client, task) = Server::new(1).connect().await;
    let (mut read, mut write) = tokio::io::split(client);
    let sending = async {
        let _ = write.write_all(b"NO HTTP\r\n\r\n").await;
        while write.write_all(&[0; 1024]).await.is_ok() {}
    };
    let reading = async {
        // It looks for an answer only when it can't send any more.
        sleep(Duration::from_secs(1)).await;
        let mut answer = Vec::new();
        let _ = read.read_to_end(&mut answer).await;
        answer
    };
    let ((), answer) = tokio::join!(sending, reading);
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    assert!(ended(task).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn at_the_cap_busy_connections_stay() {
    let server = Server::new(1);
    let (mut client, task) = server.connect().await;
    client.write_all(b"GET /hour HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let begin = Instant::now();
    assert!(server.connections.admit().await.is_none());
    assert!(begin.elapsed().is_zero(), "told at once");
    assert!(!task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn shutdown_closes_what_is_idle_or_fresh_and_lets_requests_end() {
    let server = Server::new(3);
    let (mut fresh, _) = server.connect().await;
    let (mut idle, _) = server.connect().await;
    idle.write_all(GET).await.unwrap();
    read_response(&mut idle).await;
    let (mut busy, task) = server.connect().await;
    busy.write_all(b"GET /hour HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    sleep(Duration::from_secs(1)).await;

    server.shutdown.graceful.cancel();
    assert_eq!(closed_after(&mut fresh).await.0, 0);
    assert_eq!(closed_after(&mut idle).await.0, 0);
    let (after, bytes) = closed_after(&mut busy).await;
    assert_eq!(after, 3599);
    assert!(bytes.ends_with(b"late"));
    ended(task).await.unwrap();
    assert_eq!(server.connections.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn forced_shutdown_ends_requests() {
    let server = Server::new(1);
    let (mut busy, task) = server.connect().await;
    busy.write_all(b"GET /hour HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    server.shutdown.forced.cancel();
    timeout(Duration::from_secs(1), task).await.unwrap().unwrap().unwrap();
}

/// A request with a body of so many bytes, and the answer's head.
async fn upload(client: &mut DuplexStream, size: usize) -> String {
    let head = format!("POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&vec![b'x'; size]).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        answer.push(client.read_u8().await.unwrap());
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_large_body_takes_a_large_buffer_to_the_end_of_its_connection() {
    let server = Server::new(3);
    let buffers = &server.settings.large_buffers;
    let (mut first, first_ended) = server.connect().await;
    // Many that are small are not one that is large.
    for _ in 0..3 {
        assert!(!upload(&mut first, LARGE_BODY - 1).await.contains("connection: close"));
    }
    assert_eq!(buffers.most(), 0);
    // Of the body more has to come when it gets the buffer.
    let held = buffers.take().unwrap();
    let (mut second, _second_ended) = server.connect().await;
    assert!(!upload(&mut second, 2 * LARGE_BODY).await.contains("connection: close"));
    drop(held);
    assert!(upload(&mut first, 2 * LARGE_BODY).await.contains("connection: close"));
    first_ended.await.unwrap().unwrap();
    assert_eq!((buffers.taken(), buffers.most()), (0, LARGE));
    // It is free for the next.
    assert!(upload(&mut second, 2 * LARGE_BODY).await.contains("connection: close"));
}
