//! Every term of the memory plan, in one place.

use budget::{Kind, Limit, Plan, Source, Term, limit};
use storage::CacheSettings;

use crate::config::{Config, size};
use crate::counts::{Counts, SCALE};
use crate::socket::{self, AT_FIRST};
use crate::{admin, connection, telemetry};

/// The process with nothing to do, in bytes: code, statics, the runtime, the
/// allocator's own. Measured on the release binary: 8.4 MiB resident.
const BASE: u64 = 10 << 20;

/// A thread's touched stack and its allocator cache, in bytes.
const THREAD: u64 = 128 << 10;

/// The load line: the counts that hold, and what they add up to.
#[derive(Clone, Debug)]
pub struct LoadLine {
    /// As configured, or derived.
    pub counts: Counts,
    /// What they come to, beside the limit.
    pub plan: Plan,
}

impl LoadLine {
    /// That of this configuration, in the limit that applies: configured, or detected.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let configured = config.memory_limit.map(|size| size.as_u64());
        let configured = configured.map(|bytes| Limit { bytes, source: Source::Configured });
        Self::fit(config, configured.unwrap_or_else(limit::detect))
    }

    /// That of this configuration, in any limit. What is not set is as much as fits; the
    /// plan is to be checked all the same, since even the least may not.
    #[must_use]
    pub fn fit(config: &Config, limit: Limit) -> Self {
        let at = |steps| Counts::at(config, steps);
        let steps = budget::fit(SCALE, |steps| plan(config, &at(steps), limit));
        Self { counts: at(steps), plan: plan(config, &at(steps), limit) }
    }
}

/// What bounds the cache of records. As many loads as requests: more can't be.
#[must_use]
pub fn cache(config: &Config, counts: &Counts) -> CacheSettings {
    CacheSettings {
        capacity: counts.cache,
        largest: storage::records::LARGEST,
        time_to_live: config.cache_ttl,
        loads: counts.requests,
    }
}

/// The terms of these counts, and what else the configuration has, under `limit`.
fn plan(config: &Config, counts: &Counts, limit: Limit) -> Plan {
    let buffer = size(config.connection_buffer);
    let chunk = size(config.upload_chunk);
    // An upload's own buffer may be lent to another: each is in use by itself.
    let upload = streaming::upload::cost(chunk) - chunk
        + connection::busy_cost(buffer)
        + handler::multipart::cost(buffer);
    let request = handler::admission::cost(buffer);
    let cache = storage::cache::cost(cache(config, counts), counts.requests);
    let tokens = config.tokens().len().max(1);
    let download = streaming::download::cost(size(config.download_chunk));
    let connections = counts.connections + admin::CONNECTIONS;
    let receive = size(config.socket_receive_buffer);
    let threads = config.worker_threads + config.blocking_threads;
    let heap = |name, count: usize, unit: usize, setting, held_by| Term {
        name,
        count: count as u64,
        unit: unit as u64,
        kind: Kind::Heap,
        setting: Some(setting),
        held_by,
    };
    let kernel = |name, count: usize, unit: u64, setting, held_by| Term {
        name,
        count: count as u64,
        unit,
        kind: Kind::Kernel,
        setting: Some(setting),
        held_by,
    };
    let terms = vec![
        Term {
            name: "base",
            count: 1,
            unit: BASE,
            kind: Kind::Resident,
            setting: None,
            held_by: "hostile",
        },
        Term {
            name: "threads",
            count: threads as u64,
            unit: THREAD,
            kind: Kind::Resident,
            setting: Some("--blocking-threads"),
            held_by: "hostile",
        },
        heap(
            "connections",
            connections,
            connection::cost(buffer),
            "--max-connections",
            "memtest connections",
        ),
        kernel(
            "sockets, received",
            connections,
            socket::received_cost(receive.min(AT_FIRST)) as u64,
            "--max-connections",
            "hostile",
        ),
        // Whatever is asked for can be left unread.
        kernel(
            "sockets, unsent",
            connections,
            socket::unsent_cost(size(config.socket_unsent)) as u64,
            "--max-connections",
            "hostile",
        ),
        heap("requests", counts.requests, request, "--max-requests", "memtest admission"),
        heap("uploads", counts.uploads, upload, "--max-uploads", "memtest upload"),
        heap("upload buffers", counts.uploads, chunk, "--max-uploads", "memtest upload"),
        kernel(
            "sockets, uploads",
            counts.uploads,
            socket::received_cost(receive.saturating_sub(AT_FIRST)) as u64,
            "--max-uploads",
            "hostile",
        ),
        heap("downloads", counts.downloads, download, "--max-downloads", "memtest download"),
        heap(
            "large chunks",
            config.large_chunks,
            streaming::chunks::cost(size(config.download_chunk)),
            "--large-chunks",
            "memtest download",
        ),
        Term {
            setting: None,
            ..heap("verified", 1, streaming::verified::cost(), "", "streaming verified")
        },
        heap("pages", counts.pages, handler::pages::cost(), "--max-pages", "memtest export"),
        Term {
            setting: None,
            ..kernel("rows ahead", 1, handler::pages::ahead_cost() as u64, "", "http export")
        },
        heap(
            "encoders",
            counts.encoders,
            handler::compression::cost(),
            "--max-encoders",
            "memtest compression",
        ),
        heap("cache", 1, cache, "--cache-size", "memtest cache"),
        heap(
            "audit queue",
            1,
            storage::audit::cost(config.audit_queue),
            "--audit-queue",
            "memtest audit",
        ),
        Term {
            setting: None,
            ..heap("rate limit", 1, handler::rate_limit::cost(tokens), "", "memtest rate_limit")
        },
        Term { setting: None, ..heap("log", 1, telemetry::cost(), "", "memtest log") },
        // One beside the pool listens for changes.
        heap(
            "pooled connections",
            config.pool_connections as usize + 1,
            storage::pool::cost(),
            "--pool-connections",
            "memtest pool",
        ),
    ];
    Plan { terms, limit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::parse;

    /// The load line of the counts in 64 MiB with `arguments`, in bytes.
    fn line(arguments: &[&str]) -> u64 {
        let config = parse(arguments).unwrap();
        let limit = Limit { bytes: 1 << 30, source: Source::Configured };
        plan(&config, &Counts::at(&config, 16), limit).ceiling()
    }

    #[test]
    fn what_holds_memory_is_in_the_plan() {
        let (buffer, chunk) = (16 << 10, 64 << 10);
        let upload = streaming::upload::cost(chunk)
            + connection::busy_cost(buffer)
            + handler::multipart::cost(buffer);
        let sockets = socket::received_cost(AT_FIRST) + socket::unsent_cost(16 << 10);
        let large = socket::received_cost((64 << 10) - AT_FIRST);
        let thread = usize::try_from(THREAD).unwrap();
        // One more than there is of each; what that may hold in heap, and beside it.
        for (setting, heap, other) in [
            ("--max-connections=161", connection::cost(buffer), sockets),
            ("--max-requests=65", handler::admission::cost(buffer), 0),
            ("--max-uploads=17 --max-requests=64", upload, large),
            ("--max-downloads=33 --max-requests=64", streaming::download::cost(chunk), 0),
            ("--large-chunks=3", streaming::chunks::cost(chunk), 0),
            ("--max-pages=9 --max-requests=64", handler::pages::cost(), 0),
            ("--max-encoders=5", handler::compression::cost(), 0),
            ("--cache-size=2MiB", 1 << 20, 0),
            ("--audit-queue=8192", 4096 * size_of::<storage::audit::Event>(), 0),
            ("--pool-connections=9", storage::pool::cost(), 0),
            ("--worker-threads=3", 0, thread),
            ("--blocking-threads=9", 0, thread),
        ] {
            let set: Vec<_> = setting.split(' ').collect();
            let more = line(&set) - line(&[]);
            let expected = heap * 5 / 4 + other;
            assert!(more + 1 >= expected as u64, "{setting}: {more} more, of {expected}");
        }
        // What no setting bounds.
        let config = parse(&[]).unwrap();
        let limit = Limit { bytes: 64 << 20, source: Source::Configured };
        let plan = LoadLine::fit(&config, limit).plan;
        let of = |name| plan.terms.iter().find(|term| term.name == name).unwrap().bytes();
        assert!(of("base") >= BASE);
        assert!(of("rate limit") >= handler::rate_limit::cost(1) as u64);
        assert!(of("log") >= telemetry::cost() as u64);
    }
}
