//! Slow and silent clients: each kind has its deadline, tried alone, and with every
//! connection one of them. Whoever watches the service has an answer within a second
//! throughout.

use std::time::{Duration, Instant};

use server::io::GRACE;
use sha2::{Digest as _, Sha256};
use tests::{Client, Request, Target, eventually};

use crate::rig::Ground;

/// Connections that the server has for clients.
const PLACES: usize = 16;

/// The deadline that is tried. The others are out of reach.
const SHORT: &str = "1s";

/// As [`SHORT`].
const DEADLINE: Duration = Duration::from_secs(1);

/// How far beyond its deadline a client may be seen to hold its place: timers are
/// checked when something happens, and machines are busy.
const LEEWAY: Duration = Duration::from_secs(4);

/// The longest that a probe may take.
const PROBE: Duration = Duration::from_secs(1);

/// What an honest client uploads, in bytes, and how much of it between two pauses:
/// it takes more than ten deadlines.
const HONEST: usize = 2 << 30;
const BETWEEN: usize = 64 << 20;

/// More than sockets take in for a client that does not read, in bytes.
const LARGE: usize = 4 << 20;

/// Ways to hold a connection without end.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// It connects, and sends nothing.
    Silent,
    /// It sends a head, a byte now and then.
    SlowHead,
    /// It asks once, and no more.
    Idle,
    /// It sends the beginning of a body, and no more.
    StalledUpload,
    /// It sends a body, a byte now and then.
    TricklingUpload,
    /// It asks for a file, and does not read.
    StalledReader,
}

const KINDS: [Kind; 6] = [
    Kind::Silent,
    Kind::SlowHead,
    Kind::Idle,
    Kind::StalledUpload,
    Kind::TricklingUpload,
    Kind::StalledReader,
];

impl Kind {
    /// The flag of its deadline.
    fn flag(self) -> &'static str {
        match self {
            Self::Silent => "--first-byte-timeout",
            Self::SlowHead => "--header-timeout",
            Self::Idle => "--idle-timeout",
            Self::StalledUpload | Self::TricklingUpload => "--upload-timeout",
            Self::StalledReader => "--write-timeout",
        }
    }

    async fn begin(self, server: &Target, file: &str) -> Client {
        let mut client = match self {
            Self::StalledReader => Client::connect_narrow(server.address, 16 << 10).await.unwrap(),
            _ => Client::connect(server.address).await.unwrap(),
        };
        match self {
            Self::Silent => {}
            Self::SlowHead => client.send("GET /livez HTTP/1.1\r\nhost: loc").await.unwrap(),
            Self::Idle => {
                let answer = client.exchange(&Request::get("/livez")).await.unwrap();
                assert_eq!(answer.status, 200);
            }
            Self::StalledUpload | Self::TricklingUpload => {
                let post = Request::post("/v1/files?name=a", vec![7; LARGE]).body("begun");
                client.request(&post).await.unwrap();
            }
            Self::StalledReader => {
                client.request(&Request::get(file)).await.unwrap();
                assert_eq!(client.head().await.unwrap().status, 200);
            }
        }
        client
    }

    /// Goes on in its way.
    async fn go_on(self, client: &mut Client) {
        if matches!(self, Self::SlowHead | Self::TricklingUpload) {
            // Where it is closed already, there is nobody to send to.
            let _ = client.send("x").await;
        }
    }
}

/// A server with so many places, on which only one deadline can pass.
fn start(ground: &Ground, places: usize, short: &[&str]) -> Target {
    let all = [
        "--first-byte-timeout",
        "--header-timeout",
        "--idle-timeout",
        "--upload-timeout",
        "--write-timeout",
    ];
    let places = places.to_string();
    let mut flags = vec!["--max-connections", &places];
    for flag in all {
        flags.extend([flag, if short.contains(&flag) { SHORT } else { "10m" }]);
    }
    ground.server(&flags)
}

async fn store(server: &Target) -> String {
    let mut client = Client::connect(server.address).await.unwrap();
    let post = Request::post("/v1/files?name=a", vec![7; LARGE]);
    let answer = client.exchange(&post).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    format!("{}/content", answer.field("location").unwrap())
}

/// How long a probe takes.
async fn probe(server: &Target) -> Duration {
    let begin = Instant::now();
    let mut client = Client::connect(server.admin.unwrap()).await.unwrap();
    assert_eq!(client.exchange(&Request::get("/livez")).await.unwrap().status, 200);
    begin.elapsed()
}

/// Whether there is a place for one more.
async fn is_served(server: &Target) -> bool {
    let mut client = Client::connect(server.address).await.unwrap();
    // Where there is none, the answer comes unasked, and the question may fail.
    let _ = client.request(&Request::get("/livez")).await;
    client.response(false).await.is_ok_and(|answer| answer.status == 200)
}

/// Every place is taken by one kind: whoever idles or is slow to ask makes room, the
/// others at their deadline; and nothing of them is left.
async fn hold(kind: Kind, places: usize) {
    let ground = Ground::new().await;
    // By a server of its own: here the file's connection would have a place for a
    // moment longer than its client knows.
    let server = start(&ground, 1, &[]);
    let file = store(&server).await;
    assert!(server.stop().success());
    let server = start(&ground, places, &[kind.flag()]);
    let begin = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..places {
        clients.push(kind.begin(&server, &file).await);
    }
    // Until nobody may still bring a head.
    tokio::time::sleep(GRACE).await;
    let (mut slowest, mut served) = (Duration::ZERO, false);
    while !served {
        slowest = slowest.max(probe(&server).await);
        for client in &mut clients {
            kind.go_on(client).await;
        }
        served = is_served(&server).await;
        assert!(begin.elapsed() < DEADLINE + LEEWAY, "{kind:?} x {places}: there is no place");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = begin.elapsed();
    println!("{kind:?} x {places}: room for one more after {took:?}; slowest probe {slowest:?}");
    assert!(slowest < PROBE, "{kind:?} x {places}: a probe took {slowest:?}");
    if matches!(kind, Kind::Silent | Kind::SlowHead | Kind::Idle) {
        // Those who need not make room have their deadline too.
        for client in &mut clients {
            assert_eq!(client.end().await.unwrap(), b"");
        }
        assert!(begin.elapsed() < DEADLINE + LEEWAY, "{kind:?} x {places}");
    } else {
        assert!(took >= DEADLINE, "{kind:?} x {places}: it was cut off early");
    }
    eventually("nothing is staged", async || ground.staged() == 0).await;
    drop(clients);
    assert!(server.stop().success());
    assert!(ground.is_whole().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_slow_or_silent_holds_a_place_until_its_deadline_at_most() {
    for kind in KINDS {
        hold(kind, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_connection_cap_probes_are_answered_and_places_come_back() {
    for kind in KINDS {
        hold(kind, PLACES).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_slow_upload_is_never_cut_off() {
    let ground = Ground::new().await;
    let all = [
        "--first-byte-timeout",
        "--header-timeout",
        "--idle-timeout",
        "--upload-timeout",
        "--write-timeout",
    ];
    let server = start(&ground, 1, &all);
    let begin = Instant::now();
    let mut client = Client::connect(server.address).await.unwrap();
    let block = vec![7; 1 << 20];
    let (mut hasher, mut left) = (Sha256::new(), HONEST);
    let head = format!(
        "POST /v1/files?name=a HTTP/1.1\r\nhost: localhost\r\ncontent-length: {HONEST}\r\n\r\n"
    );
    client.send(head).await.unwrap();
    while left > 0 {
        client.send(&block).await.unwrap();
        hasher.update(&block);
        left -= block.len();
        if left.is_multiple_of(BETWEEN) {
            tokio::time::sleep(DEADLINE / 2).await;
        }
    }
    let answer = client.response(false).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(answer.text().contains(&digest), "{}", answer.text());
    let took = begin.elapsed();
    println!("{} MiB in {took:?}, with every deadline at {SHORT}", HONEST >> 20);
    assert!(took > 10 * DEADLINE, "{took:?} was too fast to tell");
    assert!(server.stop().success());
}
