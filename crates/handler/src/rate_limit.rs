//! Rate limit: so many requests a client, in a table that can't grow.
//!
//! **What goes wrong**: a table with an entry a client grows with every address
//! that was ever seen (69 bytes each, and never back), and whoever forges
//! addresses, or has a /48 of them, fills it. One that forgets under pressure
//! lets the forger in.
//!
//! **The pattern**: an address is folded to one of 65,536 buckets by a hash that
//! is seeded anew in each process, so that nobody can choose whose bucket to
//! share. The price: neighbours in a bucket share its limit. Bearers of a token
//! have buckets of their own, which no forger reaches; so have the probes.
//!
//! **The bound**: [`cost`], whatever comes.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use governor::middleware::NoOpMiddleware;
use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};

use crate::client::{Peer, address, network};
use crate::probe_paths::is_probe;
use crate::{Access, Problem};

/// Buckets for addresses: as many as a `u16` has values.
pub const BUCKETS: usize = 1 << 16;

/// Buckets for those who ask for the probes: a balancer and a few more.
pub const PROBE_BUCKETS: u16 = 1 << 10;

/// What a bucket takes in the hash table, in bytes: key, state, control byte.
const BUCKET: usize = 17;

/// What the table takes beside its buckets, in bytes: locks, quota.
const OVERHEAD: usize = 32 * 1024;

/// The heap that the table may hold, in bytes, every bucket in use: it is never
/// more than seven eighths full, and doubles. It does so shard by shard, of which
/// there are four or more: half a shard, the old one, is there beside the new one
/// meanwhile (2.26 MiB for a moment, 2.13 MiB after it, with eight shards). Held
/// by the memory test `rate_limit`.
#[must_use]
pub const fn cost(tokens: usize) -> usize {
    let buckets = BUCKETS + PROBE_BUCKETS as usize + tokens;
    let table = (buckets * 8 / 7).next_power_of_two() * BUCKET;
    table + table / 8 + OVERHEAD
}

/// How often a client may ask.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// In the long run once in each such period.
    pub period: Duration,
    /// At once, after a pause.
    pub burst: NonZeroU32,
    /// Proxies of ours in front: see [`address`].
    pub proxies: usize,
}

/// The bucket of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// By address.
    Address(u16),
    /// By address, of those who ask for the probes: a balancer is not to be
    /// starved by whoever floods the rest.
    Probe(u16),
    /// By the token's place among those configured: fewer than addresses.
    Token(u16),
}

/// Finds a client's bucket.
#[derive(Clone, Debug)]
pub struct Buckets {
    access: Access,
    proxies: usize,
    seed: RandomState,
}

impl Buckets {
    /// With a fresh seed.
    #[must_use]
    pub fn new(access: Access, proxies: usize) -> Self {
        Self { access, proxies, seed: RandomState::new() }
    }

    /// Addresses are folded: all but the last 16 bits of the hash are dropped.
    fn fold(&self, address: IpAddr) -> u16 {
        let hash = self.seed.hash_one(network(address));
        let [low, high, ..] = hash.to_le_bytes();
        u16::from_le_bytes([low, high])
    }
}

impl KeyExtractor for Buckets {
    type Key = Bucket;

    fn extract<T>(&self, request: &Request<T>) -> Result<Bucket, GovernorError> {
        let peer = request.extensions().get::<Peer>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(peer)| peer.ip());
        let address = || self.fold(address(peer, request.headers(), self.proxies));
        if is_probe(request.uri()) {
            return Ok(Bucket::Probe(address() % PROBE_BUCKETS));
        }
        Ok(match self.access.token(request.headers()) {
            Some(token) => Bucket::Token(token),
            None => Bucket::Address(address()),
        })
    }
}

/// The layer.
pub type RateLimitLayer = GovernorLayer<Buckets, NoOpMiddleware, Body>;

/// Answers 429 with Retry-After to who asks too often.
#[must_use]
pub fn layer(limit: RateLimit, access: Access) -> RateLimitLayer {
    let config = GovernorConfigBuilder::default()
        .period(limit.period.max(Duration::from_nanos(1)))
        .burst_size(limit.burst.get())
        .key_extractor(Buckets::new(access, limit.proxies))
        .finish();
    // None only for a period or a burst of 0, which are ruled out.
    let config = config.unwrap_or_else(|| unreachable!("a period and a burst above 0"));
    GovernorLayer::new(config).error_handler(refusal)
}

fn refusal(error: GovernorError) -> Response<Body> {
    // It counts whole seconds, and cuts: 0 would mean at once, which is too early.
    let seconds = match error {
        GovernorError::TooManyRequests { wait_time, .. } => wait_time.saturating_add(1),
        _ => 1,
    };
    let problem = Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too-many-requests",
        "Too many requests came from this client",
        "",
    );
    ([(RETRY_AFTER, seconds.to_string())], problem).into_response()
}
