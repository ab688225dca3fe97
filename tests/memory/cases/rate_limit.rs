//! Rate limit: a table that can't grow, whatever the number of clients.
//!
//! **What goes wrong**: a table with an entry a client keeps every address that
//! was ever seen. Whoever forges addresses, or has a /48 of them, fills it, and
//! nothing ever empties it.
//!
//! **The pattern**: `handler::rate_limit`. Addresses are folded to 65,536
//! buckets by a seeded hash; bearers of a token have buckets of their own.
//!
//! **The bound**: `handler::rate_limit::cost(tokens)`, after any number of
//! addresses. The price is told in a note: whom a table full of forged addresses
//! touches.
//!
//! **The twin**: what tower_governor's documentation shows: a key is the client's
//! IP address.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::ready;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::body::Body;
use axum::extract::ConnectInfo;
use handler::rate_limit::{self, cost};
use handler::{Access, Peer, RateLimit};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode};
use meter::{Curve, Probe, Report, Sample};
use sha2::{Digest as _, Sha256};
use tower::{Layer as _, Service, service_fn};
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;

use super::{Case, Tier};
use crate::rig;

pub const CASE: Case = Case {
    name: "rate_limit",
    tier: Tier::A,
    about: "the table of clients: the same size after any number of addresses",
    pattern: || rig::run(pattern()),
    twin: || rig::run(twin()),
};

/// Addresses, in millions: from the first on every bucket is in use. Not
/// optimised, ten million would take minutes.
const MILLIONS: [u32; 2] = if cfg!(debug_assertions) { [1, 2] } else { [1, 10] };

/// Nobody is refused by it: the same requests reach the service in both variants.
const GENEROUS: RateLimit = RateLimit {
    period: Duration::from_micros(1),
    burst: NonZeroU32::new(1_000_000).unwrap(),
    proxies: 0,
};

/// Whoever has used it up has none again while the test runs.
const STRICT: RateLimit =
    RateLimit { period: Duration::from_secs(3600), burst: NonZeroU32::new(2).unwrap(), proxies: 0 };

/// Forged addresses, each of which uses up its bucket.
const FORGED: [u32; 4] = [0, 1_000, 10_000, 1_000_000];

/// Clients who ask once at each of these counts.
const HONEST: u32 = 1_000;

async fn pattern() -> Result<Report> {
    let mut samples = measure(|| service(GENEROUS, Access::Loopback)).await?;
    samples[0].note = touched().await?;
    for tokens in [1, 100, 1000] {
        samples.push(unit(tokens).await?);
    }
    Ok(Report { samples })
}

async fn twin() -> Result<Report> {
    let service = || {
        let config = GovernorConfigBuilder::default()
            .period(GENEROUS.period)
            .burst_size(GENEROUS.burst.get())
            .finish();
        let layer = GovernorLayer::new(config.context("a period and a burst above 0")?);
        Ok(layer.layer(trivial()))
    };
    Ok(Report { samples: measure(service).await? })
}

/// `table`: what the table holds after all addresses. `growth`: what it grew by
/// between the first million and the last, an address.
async fn measure<S>(service: impl Fn() -> Result<S>) -> Result<Vec<Sample>>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let probe = Probe::start();
    let mut service = service()?;
    let mut points = Vec::with_capacity(MILLIONS.len());
    let mut sent = 0;
    for millions in MILLIONS {
        for number in sent..millions * 1_000_000 {
            let status = ask(&mut service, address(number), None).await?;
            ensure!(status == StatusCode::OK, "{status} for address {number}");
        }
        sent = millions * 1_000_000;
        points.push((f64::from(sent), probe.read().retained as f64));
    }
    let table = probe.read().retained as f64;
    black_box(&service);
    let growth = Curve::new("addresses", points);
    Ok(vec![Sample::new("table", vec![table]), Sample::slope("growth", &[growth])])
}

/// The most that the table takes with every bucket in use, while it grows too,
/// as a share of what the formula says for so many tokens.
async fn unit(tokens: usize) -> Result<Sample> {
    let probe = Probe::start();
    let digests: Vec<[u8; 32]> =
        (0..tokens).map(|token| Sha256::digest(token.to_string()).into()).collect();
    let mut service = service(GENEROUS, Access::Tokens(digests.into()))?;
    let begun = probe.read().retained;
    for number in 0..1_000_000 {
        ask(&mut service, address(number), None).await?;
    }
    for number in 0..20_000 {
        let mut probe = request(address(number));
        *probe.uri_mut() = http::Uri::from_static("/livez");
        service.call(probe).await?;
    }
    for token in 0..tokens {
        let bearer = HeaderValue::try_from(format!("Bearer {token}"))?;
        ask(&mut service, address(0), Some(bearer)).await?;
    }
    let peak = probe.read().peak as f64 - begun as f64;
    black_box(&service);
    Ok(Sample::new("unit", vec![peak]).share_of(&format!("unit_{tokens}"), cost(tokens)))
}

/// Whom forged addresses touch: honest clients, who share a bucket with one of
/// them that has used it up, without and with a token.
async fn touched() -> Result<String> {
    let access = Access::Tokens([<[u8; 32]>::from(Sha256::digest("honest"))].into());
    let mut service = service(STRICT, access)?;
    let (mut note, mut sent) = (String::from("honest clients refused: "), 0);
    for forged in FORGED {
        for number in sent..forged {
            for _ in 0..STRICT.burst.get() {
                ask(&mut service, address(number), None).await?;
            }
        }
        sent = forged;
        // They ask once each, of twice that they may: at the first count they find the table as
        // it is. At the others, some have asked before.
        let begin = u32::MAX - forged;
        let mut refused = 0;
        for number in 0..HONEST {
            let status = ask(&mut service, address(begin - number), None).await?;
            refused += u32::from(status == StatusCode::TOO_MANY_REQUESTS);
        }
        let share = 100.0 * f64::from(refused) / f64::from(HONEST);
        write!(note, "{share:.1} % while {forged} forged addresses use up their buckets, ")?;
    }
    let bearer = HeaderValue::from_static("Bearer honest");
    let status = ask(&mut service, address(0), Some(bearer)).await?;
    ensure!(status == StatusCode::OK, "the bearer of a token was told {status}");
    Ok(note + "with a token none")
}

fn service(
    limit: RateLimit,
    access: Access,
) -> Result<impl Service<Request<Body>, Response = Response<Body>, Error = Infallible>> {
    Ok(rate_limit::layer(limit, access).layer(trivial()))
}

/// The service behind the limit.
fn trivial() -> impl Service<
    Request<Body>,
    Response = Response<Body>,
    Error = Infallible,
    Future = std::future::Ready<Result<Response<Body>, Infallible>>,
> + Clone {
    service_fn(|_| ready(Ok(Response::new(Body::empty()))))
}

/// Another address for each number, all over IPv4.
fn address(number: u32) -> SocketAddr {
    (Ipv4Addr::from_bits(number.wrapping_mul(0x9e37_79b1)), 40_000).into()
}

fn request(from: SocketAddr) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    // Where the service looks, and where its twin does.
    request.extensions_mut().insert(Peer(from));
    request.extensions_mut().insert(ConnectInfo(from));
    request
}

async fn ask<S>(
    service: &mut S,
    from: SocketAddr,
    bearer: Option<HeaderValue>,
) -> Result<StatusCode>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let mut request = request(from);
    if let Some(bearer) = bearer {
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    Ok(service.call(request).await?.status())
}
