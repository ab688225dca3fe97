//! The patterns that can be taken: which files each is, and what its test measures.

/// A pattern.
pub struct Pattern {
    /// Its name.
    pub name: &'static str,
    /// What it bounds, in a line.
    pub about: &'static str,
    /// The crate that it is taken from, in `crates/`.
    pub origin: &'static str,
    /// Its files, in that crate's `src/`; all of them where none is named.
    pub files: &'static [&'static str],
    /// What `lib.rs` says beside its modules; where all files are taken, it is taken
    /// too.
    pub exports: &'static str,
    /// Crates of ours that it stands on, whole.
    pub crates: &'static [&'static str],
    /// The metrics of its case in budgets.toml that the taken test measures; all of
    /// them where none is named.
    pub metrics: &'static [&'static str],
    /// Whether its test is the memory case as it is. Else it is one that needs less
    /// than the service: in `xtask/take`.
    pub case_as_it_is: bool,
    /// Whether its test needs a Postgres.
    pub postgres: bool,
}

const NOTHING: Pattern = Pattern {
    name: "",
    about: "",
    origin: "",
    files: &[],
    exports: "",
    crates: &[],
    metrics: &[],
    case_as_it_is: false,
    postgres: false,
};

/// Every pattern that stands alone.
///
/// Not here: `list`, which sends the pages of `export`; staged files and the quota,
/// which come with `upload`; publish, sweep and fsck, the middleware (the case
/// `response`), the plan and the limits, each of which is made of this service's
/// handlers, store and database together; `cleanup`, `soak` and `resident`, which are
/// cases of the whole service and no pattern.
pub const ALL: &[Pattern] = &[
    Pattern {
        name: "upload",
        about: "a body becomes a file through small buffers; who leaves leaves nothing",
        origin: "streaming",
        metrics: &[
            "peak_slope",
            "peak_segment",
            "retained_per_op",
            "retained",
            "unit_16k",
            "unit_64k",
            "unit_256k",
        ],
        ..NOTHING
    },
    Pattern {
        name: "download",
        about: "a file becomes a body, a chunk at a time; the permit rides in the chunk",
        origin: "streaming",
        metrics: &[
            "peak_slope",
            "peak_segment",
            "retained_per_op",
            "retained",
            "unit_16k",
            "unit_64k",
            "unit_256k",
        ],
        ..NOTHING
    },
    Pattern {
        name: "multipart",
        about: "a form's files, part by part; the parser gets one frame a turn",
        origin: "handler",
        files: &[
            "content_type.rs",
            "multipart.rs",
            "multipart/demand.rs",
            "name.rs",
            "problem.rs",
            "repr_digest.rs",
            "request_id.rs",
            "store_errors.rs",
        ],
        exports: "pub use problem::Problem;",
        crates: &["streaming"],
        metrics: &["peak_slope", "peak_segment"],
        ..NOTHING
    },
    Pattern {
        name: "export",
        about: "keyset pages, as list and export send them: rows become bytes one by one",
        origin: "handler",
        files: &["page.rs", "pages.rs", "permits.rs", "shown.rs"],
        crates: &["storage", "streaming"],
        metrics: &["peak_slope", "peak_segment"],
        postgres: true,
        ..NOTHING
    },
    Pattern {
        name: "shared_bytes",
        about: "what is kept of a request's head is copied out of its buffer",
        origin: "handler",
        files: &["content_type.rs", "problem.rs", "request_id.rs"],
        exports: "pub use problem::Problem;",
        metrics: &["field"],
        ..NOTHING
    },
    Pattern {
        name: "cache",
        about: "bounded in bytes, its own overhead and loads in flight included",
        origin: "storage",
        files: &["cache.rs"],
        metrics: &["passed_256k", "passed_512k", "passed_1024k", "loads"],
        ..NOTHING
    },
    Pattern {
        name: "records",
        about: "a record in one allocation, nothing that pins a row's buffer",
        origin: "storage",
        files: &["record.rs"],
        ..NOTHING
    },
    Pattern {
        name: "pool",
        about: "connections, statements, kept buffers and waits, each bounded",
        origin: "storage",
        files: &["pool.rs"],
        metrics: &["retained"],
        postgres: true,
        ..NOTHING
    },
    Pattern {
        name: "audit",
        about: "a queue with a length, batches by COPY; full means dropped, and counted",
        origin: "storage",
        files: &["audit.rs"],
        postgres: true,
        ..NOTHING
    },
    Pattern {
        name: "admission",
        about: "requests in flight, counted to the end of the response; shed, not queued",
        origin: "handler",
        files: &[
            "admission.rs",
            "held.rs",
            "json.rs",
            "overload.rs",
            "permits.rs",
            "probe_paths.rs",
            "problem.rs",
            "request_id.rs",
        ],
        exports: "pub use problem::Problem;",
        metrics: &["readers"],
        ..NOTHING
    },
    Pattern {
        name: "rate_limit",
        about: "a table of clients that can't grow, whoever forges addresses",
        origin: "handler",
        files: &[
            "access.rs",
            "client.rs",
            "probe_paths.rs",
            "problem.rs",
            "rate_limit.rs",
            "request_id.rs",
        ],
        exports: "pub use access::Access;\npub use client::Peer;\npub use problem::Problem;\n\
                  pub use rate_limit::RateLimit;",
        case_as_it_is: true,
        ..NOTHING
    },
    Pattern {
        name: "compression",
        about: "as many encoders as there are permits, and no others",
        origin: "handler",
        files: &[
            "compression.rs",
            "held.rs",
            "overload.rs",
            "permits.rs",
            "problem.rs",
            "request_id.rs",
        ],
        exports: "pub use problem::Problem;",
        metrics: &["encoders", "unit"],
        ..NOTHING
    },
    Pattern {
        name: "body_limit",
        about: "JSON bodies: small, typed, in time; the limit inside of the decompression",
        origin: "handler",
        files: &["json.rs", "problem.rs", "request_id.rs"],
        exports: "pub use problem::Problem;",
        ..NOTHING
    },
    Pattern {
        name: "connections",
        about: "a deadline for each phase, least progress while writing, a cap",
        origin: "server",
        files: &["connection.rs", "io.rs", "registry.rs", "socket.rs"],
        exports: "/// The connection's other end, in a request's extensions.\n\
                  #[derive(Clone, Copy, Debug)]\n\
                  pub struct Peer(pub std::net::SocketAddr);",
        metrics: &["unit_8k", "unit_16k", "unit_64k"],
        ..NOTHING
    },
    Pattern {
        name: "log",
        about: "lines on their way: a queue with a length, and a thread",
        origin: "server",
        files: &["log_line.rs", "telemetry.rs"],
        case_as_it_is: true,
        ..NOTHING
    },
    Pattern {
        name: "gauge",
        about: "how near memory is to its limit: two levels, each with a lower end",
        origin: "budget",
        files: &["gauge.rs", "limit.rs", "usage.rs"],
        exports: "pub use gauge::{Figures, Gauge, Level};\npub use limit::{Limit, Source};\n\
                  pub use usage::Usage;",
        ..NOTHING
    },
];

/// The pattern of this name.
pub fn find(name: &str) -> Option<&'static Pattern> {
    ALL.iter().find(|pattern| pattern.name == name)
}
