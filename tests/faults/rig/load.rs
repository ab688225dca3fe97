//! A mixed load, and what its clients were told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tests::{Client, Request, Response};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// The largest upload, in bytes: several buffers.
const LARGEST: usize = 300_000;

/// A pause after a request that failed.
const PAUSE: Duration = Duration::from_millis(20);

/// What the clients were told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Files that were answered 201, with the digest of what was sent.
    pub created: BTreeMap<Uuid, String>,
    /// Files that were answered 204.
    pub deleted: BTreeSet<Uuid>,
    /// Files whose deletion was asked for, and had no answer.
    pub perhaps_deleted: BTreeSet<Uuid>,
    /// How often each status came.
    pub statuses: BTreeMap<u16, usize>,
    /// Requests that had no whole answer.
    pub broken: usize,
    /// What must never be: other bytes, a 503 that does not say when to come again.
    pub wrong: Vec<String>,
}

/// Clients at work.
pub struct Load {
    told: Arc<Mutex<Told>>,
    stop: CancellationToken,
    clients: TaskTracker,
}

impl Load {
    /// Starts clients who upload (raw and by forms), read, list, rename and delete.
    pub fn start(address: SocketAddr) -> Self {
        let (told, stop, clients) =
            (Arc::<Mutex<Told>>::default(), CancellationToken::new(), TaskTracker::new());
        for work in [Work::Upload, Work::Upload, Work::Form, Work::Read, Work::List, Work::Change] {
            clients.spawn(client(work, address, told.clone(), stop.clone()));
        }
        clients.close();
        Self { told, stop, clients }
    }

    /// What they have been told by now.
    pub fn told(&self) -> Told {
        self.told.lock().unwrap().clone()
    }

    /// Waits until each has its last answer.
    pub async fn end(self) -> Told {
        self.stop.cancel();
        self.clients.wait().await;
        self.told()
    }
}

#[derive(Clone, Copy)]
enum Work {
    Upload,
    Form,
    Read,
    List,
    Change,
}

async fn client(work: Work, address: SocketAddr, told: Arc<Mutex<Told>>, stop: CancellationToken) {
    let mut connection = None;
    while !stop.is_cancelled() {
        let mut client = match connection.take() {
            Some(client) => client,
            None => match Client::connect(address).await {
                Ok(client) => client,
                Err(_) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let fine = match work {
            Work::Upload => upload(&mut client, &told).await,
            Work::Form => form(&mut client, &told).await,
            Work::Read => read(&mut client, &told).await,
            Work::List => ask(&mut client, &told, &Request::get("/v1/files")).await.is_some(),
            Work::Change => change(&mut client, &told).await,
        };
        if fine {
            connection = Some(client);
        } else {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Asks, and notes the answer. None without one, or where the connection ends.
async fn ask(client: &mut Client, told: &Mutex<Told>, request: &Request) -> Option<Response> {
    let answer = client.exchange(request).await;
    let mut told = told.lock().unwrap();
    let Ok(answer) = answer else {
        told.broken += 1;
        return None;
    };
    *told.statuses.entry(answer.status).or_default() += 1;
    if answer.status == 503 && answer.field("retry-after").is_none_or(|after| after == "0") {
        told.wrong.push(format!("503 without Retry-After: {}", answer.text()));
    }
    Some(answer)
}

fn closes(answer: &Response) -> bool {
    answer.field("connection") == Some("close")
}

/// Bytes that were never sent before.
fn fresh() -> Vec<u8> {
    let mut seed = Uuid::new_v4().as_u128();
    let size = usize::try_from(seed % LARGEST as u128).unwrap();
    let next = || {
        seed = seed.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
        seed.to_be_bytes()
    };
    std::iter::repeat_with(next).flatten().take(size).collect()
}

pub fn sha256(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

/// SHA-256 in hex.
pub fn digest(bytes: &[u8]) -> String {
    sha256(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn upload(client: &mut Client, told: &Mutex<Told>) -> bool {
    let content = fresh();
    let expected = digest(&content);
    let Some(answer) = ask(client, told, &Request::post("/v1/files?name=load", content)).await
    else {
        return false;
    };
    if answer.status == 201 {
        let record: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        created(told, &record, &[expected]);
    }
    !closes(&answer)
}

async fn form(client: &mut Client, told: &Mutex<Told>) -> bool {
    let contents = [fresh(), fresh()];
    let expected = contents.each_ref().map(|content| digest(content));
    let mut body = Vec::new();
    for content in contents {
        body.extend(b"--x\r\ncontent-disposition: form-data; name=a; filename=load\r\n\r\n");
        body.extend(content);
        body.extend(b"\r\n");
    }
    body.extend(b"--x--\r\n");
    let request =
        Request::post("/v1/files", body).field("content-type", "multipart/form-data; boundary=x");
    let Some(answer) = ask(client, told, &request).await else { return false };
    if answer.status == 201 {
        let records: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        for record in records["files"].as_array().unwrap() {
            created(told, record, &expected);
        }
    }
    !closes(&answer)
}

fn created(told: &Mutex<Told>, record: &serde_json::Value, expected: &[String]) {
    let text = |key: &str| record[key].as_str().unwrap().to_owned();
    let mut told = told.lock().unwrap();
    if !expected.contains(&text("sha256")) {
        told.wrong.push(format!("another digest: {record}"));
    }
    told.created.insert(text("id").parse().unwrap(), text("sha256"));
}

/// One of the files that should be there.
fn some(told: &Mutex<Told>) -> Option<(Uuid, String)> {
    let told = told.lock().unwrap();
    let place = usize::try_from(Uuid::new_v4().as_u128() % 1024).unwrap();
    let there = told
        .created
        .iter()
        .filter(|(id, _)| !told.deleted.contains(id) && !told.perhaps_deleted.contains(id));
    let there: Vec<_> = there.collect();
    let (id, digest) = there.get(place % there.len().max(1))?;
    Some((**id, (*digest).clone()))
}

async fn read(client: &mut Client, told: &Mutex<Told>) -> bool {
    let Some((id, expected)) = some(told) else { return false };
    let request = Request::get(format!("/v1/files/{id}/content"));
    let Some(answer) = ask(client, told, &request).await else { return false };
    let mut told = told.lock().unwrap();
    if answer.status == 200 && digest(&answer.body) != expected {
        told.wrong.push(format!("other bytes of {id}"));
    }
    // Another client may have deleted it meanwhile.
    let gone = told.deleted.contains(&id) || told.perhaps_deleted.contains(&id);
    if answer.status == 404 && !gone {
        told.wrong.push(format!("{id} is not there"));
    }
    !closes(&answer)
}

/// Renames one, or deletes it.
async fn change(client: &mut Client, told: &Mutex<Told>) -> bool {
    let Some((id, _)) = some(told) else { return false };
    let path = format!("/v1/files/{id}");
    if !Uuid::new_v4().as_u128().is_multiple_of(4) {
        let answer = ask(client, told, &Request::patch(path, r#"{"name":"renamed"}"#)).await;
        return answer.is_some_and(|answer| !closes(&answer));
    }
    // Before it is asked for: from then on nobody can say.
    told.lock().unwrap().perhaps_deleted.insert(id);
    let Some(answer) = ask(client, told, &Request::delete(path)).await else { return false };
    if answer.status == 204 {
        told.lock().unwrap().deleted.insert(id);
    }
    !closes(&answer)
}
