//! Every term of the memory plan, in one place.

use anyhow::Context;
use budget::{Kind, Limit, Plan, Source, Term, limit};
use storage::CacheSettings;

use crate::config::{Config, size};
use crate::{admin, connection, telemetry};

/// The process with nothing to do, in bytes: code, statics, the runtime, the
/// allocator's own. Measured on the release binary: 8.4 MiB resident.
const BASE: u64 = 10 << 20;

/// A thread's touched stack and its allocator cache, in bytes.
const THREAD: u64 = 128 << 10;

/// The limit that applies: configured, or detected.
///
/// # Errors
/// Where neither is to be had.
pub fn limit(config: &Config) -> anyhow::Result<Limit> {
    let configured = config.memory_limit.map(|size| size.as_u64());
    let configured = configured.map(|bytes| Limit { bytes, source: Source::Configured });
    configured.or_else(limit::detect).context("no memory limit is known: set MEMORY_LIMIT")
}

/// What bounds the cache of records. As many loads as requests: more can't be.
#[must_use]
pub fn cache(config: &Config) -> CacheSettings {
    CacheSettings {
        capacity: size(config.cache_size),
        largest: storage::records::LARGEST,
        time_to_live: config.cache_ttl,
        loads: config.max_requests,
    }
}

/// The terms of this configuration, under `limit`.
#[must_use]
pub fn plan(config: &Config, limit: Limit) -> Plan {
    let buffer = size(config.connection_buffer);
    let upload = streaming::upload::cost(size(config.upload_chunk))
        + connection::busy_cost(buffer)
        + handler::multipart::cost(buffer);
    let request = handler::admission::cost(buffer);
    let cache = storage::cache::cost(cache(config), config.max_requests);
    let tokens = config.tokens().len().max(1);
    let download = streaming::download::cost(size(config.download_chunk));
    let connections = config.max_connections + admin::CONNECTIONS;
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
            connection::received_cost(size(config.socket_receive_buffer)) as u64,
            "--max-connections",
            "hostile",
        ),
        // Whatever is asked for can be left unread.
        kernel(
            "sockets, unsent",
            connections,
            connection::unsent_cost(size(config.socket_unsent)) as u64,
            "--max-connections",
            "hostile",
        ),
        heap("requests", config.max_requests, request, "--max-requests", "memtest admission"),
        heap("uploads", config.max_uploads, upload, "--max-uploads", "memtest upload"),
        heap("downloads", config.max_downloads, download, "--max-downloads", "memtest download"),
        heap("pages", config.max_pages, handler::pages::cost(), "--max-pages", "memtest export"),
        heap(
            "encoders",
            config.max_encoders,
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
    Plan { terms, limit: limit.bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::parse;

    /// The load line of the defaults with `arguments`, in bytes.
    fn line(arguments: &[&str]) -> u64 {
        let limit = Limit { bytes: 1 << 30, source: Source::Configured };
        plan(&parse(arguments).unwrap(), limit).ceiling()
    }

    #[test]
    fn what_holds_memory_is_in_the_plan() {
        let (buffer, chunk) = (16 << 10, 64 << 10);
        let upload = streaming::upload::cost(chunk)
            + connection::busy_cost(buffer)
            + handler::multipart::cost(buffer);
        let sockets = connection::received_cost(64 << 10) + connection::unsent_cost(16 << 10);
        let thread = usize::try_from(THREAD).unwrap();
        // One more than the default of each; what that may hold in heap, and beside it.
        for (setting, heap, other) in [
            ("--max-connections=113", connection::cost(buffer), sockets),
            ("--max-requests=65", handler::admission::cost(buffer), 0),
            ("--max-uploads=17", upload, 0),
            ("--max-downloads=33", streaming::download::cost(chunk), 0),
            ("--max-pages=17", handler::pages::cost(), 0),
            ("--max-encoders=5", handler::compression::cost(), 0),
            ("--cache-size=2MiB", 1 << 20, 0),
            ("--audit-queue=8192", 4096 * size_of::<storage::audit::Event>(), 0),
            ("--pool-connections=9", storage::pool::cost(), 0),
            ("--worker-threads=3", 0, thread),
            ("--blocking-threads=9", 0, thread),
        ] {
            let more = line(&[setting]) - line(&[]);
            let expected = heap * 5 / 4 + other;
            assert!(more + 1 >= expected as u64, "{setting}: {more} more, of {expected}");
        }
        // What no setting bounds.
        let config = parse(&[]).unwrap();
        let plan = plan(&config, Limit { bytes: 1 << 30, source: Source::Configured });
        let of = |name| plan.terms.iter().find(|term| term.name == name).unwrap().bytes();
        assert!(of("base") >= BASE);
        assert!(of("rate limit") >= handler::rate_limit::cost(1) as u64);
        assert!(of("log") >= telemetry::cost() as u64);
    }
}
