//! Soak: thousands of requests of every kind retain nothing.
//!
//! **What goes wrong**: an entry a request, in a map that is there for statistics or
//! for debugging and that nothing removes from. No test of a single request sees
//! it; at 100 requests a second, 100 bytes each are a gigabyte in a day and a half.
//!
//! **The pattern**: the service as it is. What is kept is bounded by a number that
//! is configured, and no collection grows with what was ever seen.
//!
//! **The bound**: below one byte a request, over 12,000 of them; 4 KiB after they
//! have come to rest, whatever they were.
//!
//! **The twin**: the same service, in a layer that remembers of each request its id
//! and its path.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use axum::body::Body;
use handler::request_id::REQUEST_ID;
use http::{HeaderValue, Request};
use meter::Report;
use sha2::{Digest as _, Sha256};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use super::{Case, Tier};
use crate::rig::application::{HOST, Home, Rig};
use crate::rig::content::Content;
use crate::rig::{self, Client, MIB, Operation, Service, measure, rows};

pub const CASE: Case = Case {
    name: "soak",
    tier: Tier::A,
    about: "thousands of requests of every kind retain nothing",
    pattern: || rig::run(Home::with(async |home| Box::pin(soaked(home, Rig::service)).await)),
    twin: || rig::run(Home::with(async |home| Box::pin(soaked(home, naive)).await)),
};

/// Rounds in each of three blocks, and before them.
const ROUNDS: usize = 200;

/// Requests in a round.
const REQUESTS: usize = 20;

/// Records in the table: an export is three pages.
const RECORDS: u64 = 300;

/// What a round stores, in bytes.
const SIZE: u64 = 100_000;

/// The service, with what somebody once needed for debugging.
fn naive(rig: &Rig) -> Service {
    let seen: Arc<Mutex<HashMap<HeaderValue, String>>> = Arc::default();
    let service = rig.application.service();
    let remembering = service_fn(move |request: Request<Body>| {
        let (seen, service) = (seen.clone(), service.clone());
        async move {
            let path = request.uri().path().to_owned();
            let response = service.oneshot(request).await?;
            if let Some(id) = response.headers().get(REQUEST_ID) {
                seen.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), path);
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    rig.serving(ServiceBuilder::new().service(remembering))
}

async fn soaked(home: &Home, serve: fn(&Rig) -> Service) -> Result<Report> {
    // One pooled connection: by what each has read last, it keeps 8 KiB or more.
    let rig = home.build(&["--pool-connections", "1"]).await?;
    rows::grow(&rig.application.app.pool, RECORDS).await?;
    churn(&rig).await?;
    let service = serve(&rig);
    let samples =
        measure::retained_over(&service, ROUNDS, ROUNDS, REQUESTS, || round(&service)).await?;
    ensure!(rig.staged()? == 0, "staged files are left");
    rig.take_stored(0, [0; 32])?;
    rig.end().await;
    Ok(Report { samples: samples.into() })
}

/// So often each record passes through the cache first. moka's table comes in 64
/// parts, each of which grows once or twice before what was removed makes room: after
/// a few thousand keys, which would show as a slope of a byte or two.
const CHURN: usize = 40;

async fn churn(rig: &Rig) -> Result<()> {
    let records = &rig.application.app.records;
    for id in (0..CHURN).flat_map(|_| (1..=RECORDS).map(rows::id)) {
        records.get(id).await?;
        records.forget(id).await;
    }
    records.cache().settle().await;
    Ok(())
}

/// What clients do in a day, one of each; the table is as before afterwards.
fn round(service: &Service) -> Operation {
    let service = service.clone();
    Box::pin(async move {
        // It gets a large receive buffer, and ends its connection.
        let file = store(&mut service.call().begin()).await?;
        let mut client = service.call().begin();
        let content = format!("{file}/content");
        let tag = field(&ask(&mut client, "GET", &file, "", "200").await?, "etag")?;
        ask(&mut client, "GET", &file, &format!("if-none-match: {tag}\r\n"), "304").await?;
        ask(&mut client, "GET", &content, "", "200").await?;
        ask(&mut client, "HEAD", &content, "", "200").await?;
        ask(&mut client, "GET", &content, "range: bytes=100-199\r\n", "206").await?;
        ask(&mut client, "GET", &content, "range: bytes=100000-\r\n", "416").await?;
        ask(&mut client, "GET", "/v1/files?limit=50", "", "200").await?;
        ask(&mut client, "GET", "/v1/files?limit=101", "", "422").await?;
        ask(&mut client, "GET", "/v1/files/export", "", "200").await?;
        ask(&mut client, "GET", "/v1/files/export", "accept: text/csv\r\n", "200").await?;
        ask(&mut client, "GET", "/v1/files/export", "accept: text/html\r\n", "406").await?;
        ask(&mut client, "GET", &format!("{file}/stats"), "", "200").await?;
        ask(&mut client, "GET", "/v1/files/no-id", "", "404").await?;
        rename(&mut client, &file, "{\"name\":\"renamed\"}", "200").await?;
        rename(&mut client, &file, "{\"name\":", "400").await?;
        abort(&service, &format!("GET {content} HTTP/1.1\r\n{HOST}\r\n"), 0, 1000).await?;
        let post =
            format!("POST /v1/files?name=soak HTTP/1.1\r\n{HOST}content-length: {MIB}\r\n\r\n");
        abort(&service, &post, 400 * 1024, 0).await?;
        ask(&mut client, "DELETE", &file, "", "204").await?;
        Ok(())
    })
}

/// Uploads a file, and returns its path.
async fn store(client: &mut Client) -> Result<String> {
    let head = format!("POST /v1/files?name=soak HTTP/1.1\r\n{HOST}content-length: {SIZE}\r\n\r\n");
    client.send(head.as_bytes()).await?;
    client.send_content(SIZE, SIZE).await?;
    let answer = client.fields("201").await?;
    take_body(client, &answer).await?;
    field(&answer, "location")
}

async fn rename(client: &mut Client, file: &str, body: &str, status: &str) -> Result<()> {
    let head = format!(
        "PATCH {file} HTTP/1.1\r\n{HOST}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.send(head.as_bytes()).await?;
    let answer = client.fields(status).await?;
    take_body(client, &answer).await
}

/// A request without a body and its whole answer, the head of which it returns.
async fn ask(
    client: &mut Client,
    method: &str,
    path: &str,
    fields: &str,
    status: &str,
) -> Result<String> {
    client.send(format!("{method} {path} HTTP/1.1\r\n{HOST}{fields}\r\n").as_bytes()).await?;
    let answer = client.fields(status).await?;
    if method != "HEAD" && status != "304" && status != "204" {
        take_body(client, &answer).await?;
    }
    Ok(answer)
}

async fn take_body(client: &mut Client, answer: &str) -> Result<()> {
    match field(answer, "content-length") {
        Ok(length) => {
            let (length, path_is_content) = (length.parse()?, answer.contains("repr-digest"));
            let digest = client.whole_body(length).await?;
            if path_is_content && length == SIZE {
                ensure!(digest == Content::new().digest(SIZE), "another content came");
            }
            Ok(())
        }
        Err(_) => client.chunks(&mut Sha256::new()).await,
    }
}

/// A client that sends a head and `part` bytes, reads `read`, and leaves.
async fn abort(service: &Service, head: &str, part: u64, read: u64) -> Result<()> {
    let mut client = service.call().begin();
    client.send(head.as_bytes()).await?;
    client.send_content(part, MIB).await?;
    if read > 0 {
        client.head("200").await?;
        client.body(read, &mut Sha256::new()).await?;
    }
    Ok(())
}

fn field(answer: &str, name: &str) -> Result<String> {
    let line = answer.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then(|| value.to_owned())
    });
    line.with_context(|| format!("no field {name}: {answer}"))
}
