//! Good clients: what they store they get back, byte for byte, or are told to come
//! again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use sha2::{Digest as _, Sha256};
use tests::{Client, Request, Response};

use super::field::Field;

/// What each stores at a time, in bytes: more than an upload's buffer.
const SIZE: usize = 300_000;

/// Until one that was refused comes again.
const PAUSE: Duration = Duration::from_millis(50);

/// What became of their requests.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Answered as they should be.
    pub served: AtomicUsize,
    /// Told to come again (429, 503), or not let in.
    pub refused: AtomicUsize,
    /// What must not be, each in words.
    pub errors: std::sync::Mutex<Vec<String>>,
}

/// One client, with an address of its own. It stores a file, reads its record and its
/// content, and removes it, over and over; what it is refused it asks again.
pub async fn client(field: Arc<Field>, number: u8, outcome: Arc<Outcome>) {
    let client = Good { field, number, outcome };
    let mut round = 0;
    while client.field.goes_on() {
        if let Err(error) = client.round(round).await {
            client.outcome.errors.lock().unwrap().push(format!("{error:#}"));
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
    async fn round(&self, round: usize) -> Result<()> {
        let body: Vec<u8> = (0..SIZE).map(|at| (at * (7 + round) / 251).to_le_bytes()[0]).collect();
        let digest = Sha256::digest(&body);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let post = Request::post(format!("/v1/files?name=good-{round}"), body.as_slice());
        let Some(stored) = self.ask(&post, &[201]).await? else { return Ok(()) };
        let Some(record) = stored.field("location") else { bail!("no location") };
        ensure!(stored.text().contains(&digest), "another content was stored: {}", stored.text());

        let get = Request::get(record);
        let Some(answer) = self.ask(&get, &[200]).await? else { return Ok(()) };
        ensure!(answer.text() == stored.text(), "another record: {}", answer.text());
        let get = Request::get(format!("{record}/content"));
        let Some(answer) = self.ask(&get, &[200]).await? else { return Ok(()) };
        ensure!(answer.body == body, "another content came");
        let list = Request::get("/v1/files?limit=10");
        let Some(_) = self.ask(&list, &[200]).await? else { return Ok(()) };
        // Where an answer was lost, it may be gone already.
        self.ask(&Request::delete(record), &[204, 404]).await?;
        Ok(())
    }

    /// Asks until it is served. None where the time is over.
    async fn ask(&self, request: &Request, expected: &[u16]) -> Result<Option<Response>> {
        while self.field.goes_on() {
            if let Some(answer) = self.try_once(request.clone()).await {
                match answer.status {
                    429 | 503 => {}
                    status if expected.contains(&status) => {
                        self.outcome.served.fetch_add(1, Ordering::Relaxed);
                        return Ok(Some(answer));
                    }
                    status => bail!("{}: {status} {}", request.method(), answer.text()),
                }
            }
            self.outcome.refused.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
        Ok(None)
    }

    /// None where the connection is closed before an answer: at the cap it is one of
    /// those that have asked nothing yet.
    async fn try_once(&self, request: Request) -> Option<Response> {
        let address = format!("192.0.2.{}", self.number);
        let mut client = Client::connect(self.field.address).await.ok()?;
        client.exchange(&request.field("x-forwarded-for", address)).await.ok()
    }
}
