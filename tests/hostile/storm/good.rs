//! Good clients: what they store they get back, byte for byte, or are told to come
//! again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use sha2::{Digest as _, Sha256};
use tests::{Client, Request, Response};

use super::field::Field;
use crate::content::{BLOCK, block, number};

/// What each stores at a time, in bytes: more than an upload's buffer.
const SIZE: usize = 300_000;

/// Until one that was refused comes again.
const PAUSE: Duration = Duration::from_millis(50);

/// What became of their requests.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Answered as they should be, before the attack was over.
    pub served: AtomicUsize,
    /// Told to come again (429, 503), or not let in.
    pub refused: AtomicUsize,
    /// What must not be, each in words.
    pub errors: std::sync::Mutex<Vec<String>>,
}

/// One client, with an address of its own. Over and over it reads what is there; and it
/// stores a file, reads its record and its content, and removes it.
pub async fn client(field: Arc<Field>, number: u8, outcome: Arc<Outcome>) {
    let client = Good { field, number, outcome };
    let mut round = 0;
    while client.field.goes_on() {
        for result in [client.read(round).await, client.store(round).await] {
            if let Err(error) = result {
                client.outcome.errors.lock().unwrap().push(format!("{error:#}"));
            }
        }
        round += 1;
    }
}

struct Good {
    field: Arc<Field>,
    number: u8,
    outcome: Arc<Outcome>,
}

impl Good {
    /// Reads a block of the shared content, its record, and a list; what is refused is
    /// left out.
    async fn read(&self, round: usize) -> Result<()> {
        let mut expected = block();
        let index = (round as u64 * 7 + u64::from(self.number)) % self.field.blocks;
        number(&mut expected, index);
        let first = index * BLOCK as u64;
        let range = format!("bytes={first}-{}", first + BLOCK as u64 - 1);
        let get = Request::get(&self.field.content).field("range", range);
        if let Some(answer) = self.ask(&get, &[206]).await? {
            ensure!(answer.body == expected, "another block came");
        }
        if let Some(answer) = self.ask(&Request::get(&self.field.record), &[200]).await? {
            let size = format!("\"size\":{},", self.field.blocks * BLOCK as u64);
            ensure!(answer.text().contains(&size), "another record came: {}", answer.text());
        }
        self.ask(&Request::get("/v1/files?limit=10"), &[200]).await?;
        Ok(())
    }

    /// Stores a file, if it may; then it asks until it is served.
    async fn store(&self, round: usize) -> Result<()> {
        let body: Vec<u8> = (0..SIZE).map(|at| (at * (7 + round) / 251).to_le_bytes()[0]).collect();
        let digest = Sha256::digest(&body);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let post = Request::post(format!("/v1/files?name=good-{round}"), body.as_slice());
        let Some(stored) = self.ask(&post, &[201]).await? else { return Ok(()) };
        let Some(record) = stored.field("location") else { bail!("no location") };
        ensure!(stored.text().contains(&digest), "another content was stored: {}", stored.text());

        let Some(answer) = self.insist(&Request::get(record), &[200]).await? else { return Ok(()) };
        ensure!(answer.text() == stored.text(), "another record: {}", answer.text());
        let get = Request::get(format!("{record}/content"));
        let Some(answer) = self.insist(&get, &[200]).await? else { return Ok(()) };
        ensure!(answer.body == body, "another content came");
        // Where an answer was lost, it may be gone already.
        self.insist(&Request::delete(record), &[204, 404]).await?;
        Ok(())
    }

    /// Asks until it is served. None where the time is over.
    async fn insist(&self, request: &Request, expected: &[u16]) -> Result<Option<Response>> {
        while self.field.goes_on() {
            if let Some(answer) = self.ask(request, expected).await? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Asks once. None where it is refused.
    async fn ask(&self, request: &Request, expected: &[u16]) -> Result<Option<Response>> {
        match self.answer(request.clone()).await {
            Some(answer) if expected.contains(&answer.status) => {
                if self.field.goes_on() {
                    self.outcome.served.fetch_add(1, Ordering::Relaxed);
                }
                return Ok(Some(answer));
            }
            Some(answer) if ![429, 503].contains(&answer.status) => {
                bail!("{}: {} {}", request.method(), answer.status, answer.text())
            }
            _ => {}
        }
        self.outcome.refused.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
        Ok(None)
    }

    /// None where the connection is closed before an answer, as may be at the cap.
    async fn answer(&self, request: Request) -> Option<Response> {
        let address = format!("192.0.2.{}", self.number);
        let mut client = Client::connect(self.field.address).await.ok()?;
        client.exchange(&request.field("x-forwarded-for", address)).await.ok()
    }
}
