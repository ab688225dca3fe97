//! Where clients meet the service, and what they were told.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tests::{Client, Request};

use super::good::Outcome;

/// What an attack has for a target, and the answers that it got.
pub struct Field {
    pub address: SocketAddr,
    /// A record.
    pub record: String,
    /// Its content, and of how many blocks that is.
    pub content: String,
    pub blocks: u64,
    /// It goes on until then at least, and until good clients were served enough; until
    /// `latest` at most.
    until: Instant,
    latest: Instant,
    /// What became of the good clients beside it, and what they must be served, in
    /// requests.
    good: Arc<Outcome>,
    least: usize,
    tally: Mutex<BTreeMap<u16, u64>>,
}

/// In the place of a status: the connection ended without an answer.
pub const CLOSED: u16 = 0;

/// How many times its length an attack goes on, at most, for good clients that were not
/// served enough: a count is held, and no speed.
const LONGEST: u32 = 4;

/// The first of the addresses that attackers pretend to have; the next one each time.
static FORGED: AtomicU32 = AtomicU32::new(0x0a00_0000);

/// An address that nobody has had before.
pub fn forged() -> String {
    Ipv4Addr::from(FORGED.fetch_add(1, Ordering::Relaxed)).to_string()
}

impl Field {
    pub fn new(
        address: SocketAddr,
        record: &str,
        blocks: u64,
        length: Duration,
        good: Arc<Outcome>,
        least: usize,
    ) -> Self {
        let begin = Instant::now();
        Self {
            address,
            record: record.to_owned(),
            content: format!("{record}/content"),
            blocks,
            until: begin + length,
            latest: begin + length * LONGEST,
            good,
            least,
            tally: Mutex::default(),
        }
    }

    /// Whether it goes on.
    pub fn goes_on(&self) -> bool {
        let now = Instant::now();
        now < self.until
            || now < self.latest && self.good.served.load(Ordering::Relaxed) < self.least
    }

    /// Until it ends.
    pub async fn rest(&self) {
        tokio::time::sleep_until(self.until.into()).await;
        while self.goes_on() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub fn count(&self, status: u16) {
        *self.tally.lock().unwrap().entry(status).or_default() += 1;
    }

    /// How many got which status.
    pub fn tally(&self) -> BTreeMap<u16, u64> {
        self.tally.lock().unwrap().clone()
    }

    /// A connection whose client reads little at a time. None where there is none now.
    pub async fn connect(&self) -> Option<Client> {
        let client = Client::connect_narrow(self.address, 16 << 10).await;
        if client.is_err() {
            self.count(CLOSED);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        client.ok()
    }

    /// Sends a request by an address of its own, and reads no further than the head of
    /// the answer. None where there is no such.
    pub async fn begin(&self, client: &mut Client, request: Request) -> Option<u16> {
        let request = request.field("x-forwarded-for", forged());
        let answer = async {
            client.request(&request).await?;
            client.head().await
        };
        self.note(answer.await.map(|head| head.status))
    }

    /// Sends a request by an address of its own on a connection of its own, and reads
    /// the answer.
    pub async fn ask(&self, request: Request) {
        let Some(mut client) = self.connect().await else { return };
        let request = request.field("x-forwarded-for", forged());
        self.note(client.exchange(&request).await.map(|answer| answer.status));
    }

    pub fn note(&self, status: io::Result<u16>) -> Option<u16> {
        self.count(*status.as_ref().unwrap_or(&CLOSED));
        status.ok()
    }
}
