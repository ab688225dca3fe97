//! Admission: so many requests in flight, counted to the end of the response;
//! who is refused holds nothing.
//!
//! **What goes wrong**: a concurrency limit gives its permit back when the
//! response's head is made, so that any number of stalled readers is "not in
//! flight"; and who waits for a permit waits in memory, request and all.
//!
//! **The pattern**: `handler::admission`. The permit goes with the response's
//! body; who finds none is refused at once.
//!
//! **The bound**: as many as there are permits, each at most
//! `handler::admission::cost()` beside its connection.
//!
//! **The twin**: tower's `ConcurrencyLimitLayer` in front of the same routes.

use std::sync::Arc;

use anyhow::Result;
use handler::admission::cost;
use handler::routes::routes;
use meter::{Probe, Report, Sample};
use tower::ServiceBuilder;
use tower::limit::ConcurrencyLimitLayer;
use uuid::Uuid;

use super::{Case, Tier, body_limit};
use crate::rig::application::{HOST, Home, Rig};
use crate::rig::measure::REPETITIONS;
use crate::rig::service::quiet;
use crate::rig::{self, Client, MIB, Service};

pub const CASE: Case = Case {
    name: "admission",
    tier: Tier::A,
    about: "requests in flight: counted to the end of the response, refused beyond",
    pattern: || rig::run(Home::with(async |home| Box::pin(pattern(home)).await)),
    twin: || rig::run(Home::with(async |home| twin(home).await)),
};

/// Requests at once.
const ASKED: usize = 64;

/// Of which so many are admitted.
const ADMITTED: usize = 8;

/// Readers that stall are to be counted by admission, not by the downloads'
/// own permits; who waits for a connection of the pool waits until it is free.
const FLAGS: [&str; 6] = ["--max-downloads", "64", "--pool-timeout", "60s", "--max-requests", "8"];

async fn pattern(home: &Home) -> Result<Report> {
    let rig = home.build(&FLAGS).await?;
    let service = rig.service();
    let mut samples = readers(&rig, &service).await?;
    samples.push(refused(&rig, &service).await?);
    rig.end().await;
    let rig = home.build(&["--max-requests", "64", "--pool-timeout", "60s"]).await?;
    let service = rig.service();
    let buffer = rig.application.settings.buffer;
    let (idle, waiting) = (idle(&service, buffer).await?, waiting(&rig, &service, 0).await?);
    let admitted = waiting.iter().map(|waiting| (waiting - idle) / ASKED as f64).collect();
    samples.push(Sample::new("admitted", admitted).share_of("waiting", cost(buffer)));
    rig.end().await;
    for buffer in [8, 16, 64] {
        samples.push(unit(home, buffer * 1024).await?);
    }
    Ok(Report { samples })
}

async fn twin(home: &Home) -> Result<Report> {
    let rig = home.build(&FLAGS).await?;
    let limited = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(ADMITTED))
        .service(routes(rig.application.app.clone()));
    let service = rig.serving(limited);
    let mut samples = readers(&rig, &service).await?;
    samples.push(refused(&rig, &service).await?);
    rig.end().await;
    Ok(Report { samples })
}

/// `readers`: how many downloads are in flight whose clients have stalled.
/// `held`: what all of their connections hold, served or refused.
async fn readers(rig: &Rig, service: &Service) -> Result<Vec<Sample>> {
    let (id, _) = rig.seed(MIB).await?;
    let head = format!("GET /v1/files/{id}/content HTTP/1.1\r\n{HOST}\r\n");
    let (mut readers, mut held) = (Vec::new(), Vec::new());
    for _ in 0..=REPETITIONS {
        let calls: Vec<_> = (0..ASKED).map(|_| service.call()).collect();
        let before = service.rest().await?;
        let mut clients = Vec::with_capacity(ASKED);
        for call in calls {
            let mut client = call.begin();
            client.send(head.as_bytes()).await?;
            client.answered().await;
            clients.push(client);
        }
        let live = quiet().await?;
        let mut served = 0;
        for client in &mut clients {
            served += u32::from(client.head("200").await.is_ok());
        }
        readers.push(f64::from(served));
        held.push(live as f64 - before as f64);
    }
    // The first has warmed up.
    let samples = [("readers", readers), ("held", held)];
    Ok(samples.map(|(metric, all)| Sample::new(metric, all[1..].to_vec())).into())
}

/// `refused`: what a request holds beyond an idle connection that found no
/// permit, while those that did are waiting for the database.
async fn refused(rig: &Rig, service: &Service) -> Result<Sample> {
    let idle = idle(service, rig.application.settings.buffer).await? / ASKED as f64;
    let held = waiting(rig, service, ADMITTED).await?;
    let refused = held.iter().map(|held| held / (ASKED - ADMITTED) as f64 - idle).collect();
    Ok(Sample::new("refused", refused))
}

/// What requests hold that wait for the database, all but the `first`. Of each,
/// the head is as large as it may be.
async fn waiting(rig: &Rig, service: &Service, first: usize) -> Result<Vec<f64>> {
    let pool = &rig.application.app.pool;
    let buffer = rig.application.settings.buffer;
    let mut held = Vec::new();
    for _ in 0..=REPETITIONS {
        let mut connections = Vec::new();
        for _ in 0..pool.options().get_max_connections() {
            connections.push(pool.acquire().await?);
        }
        let calls: Vec<_> = (0..ASKED).map(|_| service.call()).collect();
        // Each asks for another record: of one, only the first would be read.
        let heads: Vec<_> = (0..ASKED)
            .map(|_| large_head("GET", &format!("/v1/files/{}", Uuid::now_v7()), buffer, ""))
            .collect();
        let mut before = service.rest().await?;
        let mut clients = Vec::with_capacity(ASKED);
        for (number, (call, head)) in calls.into_iter().zip(&heads).enumerate() {
            if number == first {
                before = quiet().await?;
            }
            let mut client = call.begin();
            client.send(head.as_bytes()).await?;
            clients.push(client);
        }
        held.push(quiet().await? as f64 - before as f64);
        drop(connections);
        for client in clients {
            client.answered().await;
        }
    }
    Ok(held.split_off(1))
}

/// What as many connections hold that have answered a request with such a head.
async fn idle(service: &Service, buffer: usize) -> Result<f64> {
    let calls: Vec<_> = (0..ASKED).map(|_| service.call()).collect();
    let head = large_head("GET", "/livez", buffer, "");
    let before = service.rest().await?;
    let mut clients = Vec::with_capacity(ASKED);
    for call in calls {
        let mut client: Client = call.begin();
        client.send(head.as_bytes()).await?;
        let length = client.head("200").await?;
        client.whole_body(length).await?;
        clients.push(client);
    }
    Ok(quiet().await? as f64 - before as f64)
}

/// The most that a request adds to its connection: the largest head, and a body
/// that is decompressed; as a share of what the formula says.
async fn unit(home: &Home, buffer: usize) -> Result<Sample> {
    let flag = buffer.to_string();
    let rig = home.build(&["--connection-buffer", &flag]).await?;
    let service = rig.service();
    let idle = idle(&service, buffer).await? / ASKED as f64;
    let bomb = Arc::new(body_limit::bomb().await?);
    let path = format!("/v1/files/{}", Uuid::now_v7());
    let length = format!("content-encoding: gzip\r\ncontent-length: {}\r\n", bomb.len());
    let head = large_head("PATCH", &path, buffer, &length);
    let mut peaks = Vec::new();
    for _ in 0..=REPETITIONS {
        let call = service.call();
        service.rest().await?;
        let probe = Probe::start();
        let mut client = call.begin();
        client.send(head.as_bytes()).await?;
        // Refused before it is all there.
        let _ = client.send(&bomb).await;
        client.head("413").await?;
        peaks.push(probe.read().peak as f64 - idle);
    }
    rig.end().await;
    let metric = format!("unit_{}k", buffer / 1024);
    Ok(Sample::new("request", peaks).share_of(&metric, cost(buffer)))
}

/// As large as a head may be, in as many fields.
fn large_head(method: &str, path: &str, buffer: usize, more: &str) -> String {
    const FIELDS: usize = 90;
    let value = "x".repeat((buffer - 1024) / FIELDS - "x-field-00: \r\n".len());
    let fields: String =
        (0..FIELDS).map(|number| format!("x-field-{number:02}: {value}\r\n")).collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\n{HOST}content-type: application/json\r\n{more}{fields}\r\n"
    );
    assert!(head.len() < buffer);
    head
}
