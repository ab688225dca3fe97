//! Connections: bytes that one holds, whatever its client does or leaves undone,
//! and how many there are.
//!
//! **What goes wrong**: hyper's buffers grow to 408 KiB each way and stay, so that
//! one upload makes an idle connection out of 30 KiB into one of 440; a client
//! that sends a head byte by byte, or does not read, holds as much. And nothing
//! says how many there may be.
//!
//! **The pattern**: `server::connection`. A buffer of a size that is configured,
//! and a place for each connection: at the cap, the longest idle makes room.
//!
//! **The bound**: `connection::cost(buffer)` for a connection without a request;
//! with the chunks of its download, for a reader that has stopped. As many as
//! there are places.
//!
//! **The twin**: the same service, served by `axum::serve`, which leaves hyper's
//! defaults as they are and has no cap.

use std::rc::Rc;

use anyhow::{Context as _, Result};
use axum::{Extension, Router};
use handler::Peer;
use meter::{Report, Sample};
use server::connection::cost;
use server::socket::LARGE_BODY;

use super::download::{self, Download};
use super::{Case, Tier, upload};
use crate::rig::application::{HOST, Home, PEER, Rig};
use crate::rig::listener::served_by_axum;
use crate::rig::{self, Client, Operation, Service, measure, rows, service::quiet};

pub const CASE: Case = Case {
    name: "connections",
    tier: Tier::A,
    about: "bytes a connection: idle, slow head, slow reader, a head behind a body; a cap",
    pattern: || rig::run(Home::with(async |home| Box::pin(measured(home, Rig::service)).await)),
    twin: || rig::run(Home::with(async |home| Box::pin(measured(home, naive)).await)),
};

/// The service, served as starters are.
fn naive(rig: &Rig) -> Service {
    let routes = Router::new().fallback_service(rig.application.service());
    served_by_axum(routes.layer(Extension(Peer(PEER))))
}

/// The same for both: each serves the same application.
async fn measured(home: &Home, serve: fn(&Rig) -> Service) -> Result<Report> {
    let rig = home.build(&[]).await?;
    let service = serve(&rig);
    let buffer = rig.application.settings.buffer;
    let slow = slow_head(&service, "slow_head", &STOPS).await?;
    let mut samples = vec![idle(&service).await?, slow.clone()];
    samples.push(slow_head(&service, "huge_head", &[HUGE]).await?);
    samples.push(slow.share_of("plan_share", cost(buffer)));
    rig.end().await;
    for (metric, chunk) in [("slow_reader", 64 * 1024), ("slow_reader_32k", 32 * 1024)] {
        samples.push(slow_reader(home, serve, metric, chunk).await?);
    }
    for buffer in [8, 16, 64] {
        samples.push(doubled(home, serve, buffer * 1024).await?);
    }
    samples.extend(cap(home, serve).await?);
    Ok(Report { samples })
}

fn get() -> String {
    format!("GET /v1/files/{} HTTP/1.1\r\n{HOST}\r\n", rows::id(1))
}

/// A request with a small answer, by a client that then stays. No record: after one of
/// those, the cache's own garbage (2 KiB) is there or not, by the clock.
fn ask(service: &Service) -> Operation<Client> {
    let (call, head) = (service.call(), format!("GET /none HTTP/1.1\r\n{HOST}\r\n"));
    Box::pin(async move {
        let mut client = call.begin();
        client.send(head.as_bytes()).await?;
        let size = client.head("404").await?;
        client.whole_body(size).await?;
        Ok(client)
    })
}

/// `idle`: what a connection holds that waits for its next request.
async fn idle(service: &Service) -> Result<Sample> {
    let times = [0; measure::WARM_UPS + measure::REPETITIONS];
    let held = measure::held(service, times, |_| ask(service)).await?;
    Ok(Sample::new("idle", held[measure::WARM_UPS..].to_vec()))
}

/// Where a client stops in its head, in bytes: at once, short of and beyond the 8
/// KiB that hyper begins with, just below the largest head that it takes.
const STOPS: [u64; 6] = [1, 40, 4_000, 8_191, 8_193, 16_000];

/// Far beyond: the service has answered, and throws away what still comes.
const HUGE: u64 = 200_000;

/// What a connection holds whose client has stopped within its head, at the worst of
/// several positions.
async fn slow_head(service: &Service, metric: &str, stops: &[u64]) -> Result<Sample> {
    let field = format!("\r\nx: {}\r\n\r\n", "x".repeat(usize::try_from(HUGE)?));
    let head: Rc<str> = get().replace("\r\n\r\n", &field).into();
    let mut worst = Vec::new();
    for _ in 0..measure::REPETITIONS {
        let held = measure::held(service, stops.iter().copied(), |stop| {
            // Shared: what the client frees would be taken off.
            let (call, head) = (service.call(), head.clone());
            Box::pin(async move {
                let mut client = call.begin();
                client.send(&head.as_bytes()[..usize::try_from(stop)?]).await?;
                Ok(client)
            })
        });
        worst.push(held.await?.into_iter().fold(0.0, f64::max));
    }
    Ok(Sample::new(metric, worst))
}

/// What a reader holds that has stopped, connection included, at the worst of
/// many positions.
async fn slow_reader(
    home: &Home,
    serve: fn(&Rig) -> Service,
    metric: &str,
    chunk: usize,
) -> Result<Sample> {
    let flag = chunk.to_string();
    let rig = home.build(&[["--download-chunk", &flag], download::NOT_LARGE].concat()).await?;
    let subject = Download::new(&rig, serve(&rig)).await?;
    let held = subject.stalled_reader(chunk, download::POSITIONS).await?;
    rig.end().await;
    Ok(Sample { metric: metric.to_owned(), ..held })
}

/// Uploads that make a connection's buffer as large as it gets; and not so large that one
/// would be the connection's last.
const UPLOADS: usize = 3;
const UPLOAD: usize = LARGE_BODY - 1;

/// A body that comes by itself, and brings so much of the next head along, in bytes.
const SMALL: usize = 1000;
const ALONG: usize = 500;

/// How much of a head is missing that fills the buffer, in bytes.
const MISSING: usize = 300;

/// What a connection holds after uploads, and with a head that has begun to come along with
/// the last: the buffer that both lie in is doubled, as the rest of the head has no room
/// behind the body. As a share of what the formula says.
async fn doubled(home: &Home, serve: fn(&Rig) -> Service, buffer: usize) -> Result<Sample> {
    let flag = buffer.to_string();
    let rig = home.build(&["--connection-buffer", &flag]).await?;
    let service = serve(&rig);
    let [first, last] = [UPLOAD, SMALL].map(|size| Rc::<str>::from(upload::head(size as u64)));
    let next = get().replace("\r\n\r\n", "\r\nx: ");
    let next = format!("{next}{}", "x".repeat(buffer - MISSING - next.len()));
    let (along, rest) = next.split_at(ALONG);
    let body: Rc<str> = ["x".repeat(SMALL).as_str(), along].concat().into();
    let rest: Rc<str> = rest.into();
    let times = [0; measure::WARM_UPS + measure::REPETITIONS];
    let held = measure::held(&service, times, |_| {
        let (call, app) = (service.call(), rig.application.app.clone());
        let [first, last, body, rest] = [&first, &last, &body, &rest].map(Rc::clone);
        Box::pin(async move {
            let mut client = call.begin();
            for _ in 0..UPLOADS {
                client.send(first.as_bytes()).await?;
                client.send_content(UPLOAD as u64, UPLOAD as u64).await?;
                let record = client.head("201").await?;
                client.whole_body(record).await?;
            }
            client.send(last.as_bytes()).await?;
            while app.uploads.taken() == 0 {
                tokio::task::yield_now().await;
            }
            client.send(body.as_bytes()).await?;
            let record = client.head("201").await?;
            client.whole_body(record).await?;
            client.send(rest.as_bytes()).await?;
            Ok(client)
        })
    });
    let held = held.await?.split_off(measure::WARM_UPS);
    rig.end().await;
    let metric = format!("unit_{}k", buffer / 1024);
    Ok(Sample::new("doubled", held).share_of(&metric, cost(buffer)))
}

/// Places, and clients that come.
const PLACES: &str = "8";
const CLIENTS: usize = 64;

/// `open`: how many connections there are when many clients have come, each of
/// which was answered, and stays. `held`: what they hold together.
async fn cap(home: &Home, serve: fn(&Rig) -> Service) -> Result<[Sample; 2]> {
    let rig = home.build(&["--max-connections", PLACES]).await?;
    let service = serve(&rig);
    let (mut open, mut held) = (Vec::new(), Vec::new());
    for repetition in 0..1 + measure::REPETITIONS {
        let mut operations: Vec<_> = (0..CLIENTS).map(|_| ask(&service)).collect();
        let mut clients = Vec::with_capacity(CLIENTS);
        let before = service.rest().await?;
        for (number, operation) in operations.iter_mut().enumerate() {
            let client = operation.as_mut().await;
            clients.push(client.with_context(|| format!("client {number}"))?);
        }
        let live = quiet().await?;
        if repetition > 0 {
            open.push(service.open() as f64);
            held.push(live as f64 - before as f64);
        }
        drop(clients);
        service.closed().await;
    }
    rig.end().await;
    Ok([Sample::new("open", open), Sample::new("held", held)])
}
