//! How many there may be of what a client can have: as configured, or as many as fit.
//!
//! **The rule**: what is not set goes by one scale, in steps of a sixteenth of what there
//! is in 64 MiB: 10 connections, 1 upload, 2 downloads, half a page, half a short request,
//! a quarter of an encoder, 64 KiB of cache. As many steps are taken as the plan has room
//! for, beside what is fixed and what is set; what has come to its most stays there, and
//! leaves the rest to the others. Below one step, the plan does not fit.
//!
//! **Requests** are as many as there can be uploads, downloads and pages, and the short
//! ones beside them: however slow the clients of the long ones are, they can't shut out
//! who asks for a record. (Whose JSON body does not come can, for as long as an upload's
//! window: it is told 408 by then.)

use std::ops::RangeInclusive;

use crate::config::{Config, size};

/// The steps in 64 MiB.
const STEPS: usize = 16;

/// The steps that can be taken: at the last, all has come to its most.
pub const SCALE: RangeInclusive<usize> = 1..=4096;

/// 10,000 clients at once are more than one process without HTTP/2 is asked for.
const CONNECTIONS: Derived = Derived { in_64_mib: 160, most: 10_000 };
/// A disk is no faster for a thousand.
const UPLOADS: Derived = Derived { in_64_mib: 16, most: 1_000 };
/// As uploads; but what the page cache has is not the disk's.
const DOWNLOADS: Derived = Derived { in_64_mib: 32, most: 2_000 };
/// As many as the pool has connections; where memory allows it some more, since no page keeps
/// its connection while its client reads.
const PAGES: Derived = Derived { in_64_mib: 8, most: 250 };
/// Requests that nothing else counts. Two processors work at two; most of the others wait for
/// the pool's connections, of which there are eight. One more than there is gets 503. Held by
/// `tests/http/admission.rs`: slow clients.
const SHORT: Derived = Derived { in_64_mib: 8, most: 500 };
/// Each takes all of a processor that it can get.
const ENCODERS: Derived = Derived { in_64_mib: 4, most: 64 };
/// In bytes: half a million records.
const CACHE: Derived = Derived { in_64_mib: 1 << 20, most: 256 << 20 };

#[derive(Clone, Copy)]
struct Derived {
    in_64_mib: usize,
    most: usize,
}

impl Derived {
    /// One at least: with none, a route would only be there to refuse.
    const fn at(self, steps: usize) -> usize {
        let count = self.in_64_mib * steps / STEPS;
        if count > self.most {
            self.most
        } else if count == 0 {
            1
        } else {
            count
        }
    }
}

/// The counts that hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Connections, without those to the admin listener.
    pub connections: usize,
    /// Requests in flight.
    pub requests: usize,
    /// Uploads in flight.
    pub uploads: usize,
    /// Downloads in flight.
    pub downloads: usize,
    /// Lists and exports in flight.
    pub pages: usize,
    /// Responses that are being compressed.
    pub encoders: usize,
    /// What the cache may keep, in bytes.
    pub cache: usize,
}

impl Counts {
    /// What is configured, and the rest after so many steps of [`SCALE`].
    #[must_use]
    pub fn at(config: &Config, steps: usize) -> Self {
        let count = |set: Option<usize>, derived: Derived| set.unwrap_or(derived.at(steps));
        let uploads = count(config.max_uploads, UPLOADS);
        let downloads = count(config.max_downloads, DOWNLOADS);
        let pages = count(config.max_pages, PAGES);
        let long = uploads + downloads + pages;
        let requests = config.max_requests.unwrap_or(long + SHORT.at(steps));
        Self {
            connections: count(config.max_connections, CONNECTIONS),
            requests,
            uploads,
            downloads,
            pages,
            encoders: count(config.max_encoders, ENCODERS),
            cache: count(config.cache_size.map(size), CACHE),
        }
    }

    /// The settings that are not set, with what they came to.
    #[must_use]
    pub fn derived(&self, config: &Config) -> Vec<(&'static str, usize)> {
        let all = [
            ("--max-connections", self.connections, config.max_connections.is_none()),
            ("--max-requests", self.requests, config.max_requests.is_none()),
            ("--max-uploads", self.uploads, config.max_uploads.is_none()),
            ("--max-downloads", self.downloads, config.max_downloads.is_none()),
            ("--max-pages", self.pages, config.max_pages.is_none()),
            ("--max-encoders", self.encoders, config.max_encoders.is_none()),
            ("--cache-size", self.cache, config.cache_size.is_none()),
        ];
        all.into_iter().filter(|(.., unset)| *unset).map(|(name, count, _)| (name, count)).collect()
    }

    /// Files and sockets that may be open at once: those of all connections, requests and
    /// removals, and some for what is always there.
    #[must_use]
    pub const fn descriptors(&self, pool_connections: usize) -> usize {
        self.connections + 2 * self.requests + self.uploads + pool_connections + 64
    }
}

#[cfg(test)]
mod tests {
    use budget::{Limit, Source};
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::config::tests::parse;
    use crate::plan::LoadLine;

    fn fitted(mebibytes: u64, arguments: &[&str]) -> (Counts, bool) {
        let limit = Limit { bytes: mebibytes << 20, source: Source::Configured };
        let line = LoadLine::fit(&parse(arguments).unwrap(), limit);
        (line.counts, line.plan.check().is_ok())
    }

    fn counts(all: [usize; 7]) -> Counts {
        let [connections, requests, uploads, downloads, pages, encoders, cache] = all;
        let cache = cache << 10;
        Counts { connections, requests, uploads, downloads, pages, encoders, cache }
    }

    #[test]
    fn counts_grow_with_the_limit_from_their_least_to_their_most() {
        for (mebibytes, fits, expected) in [
            (16, false, [10, 5, 1, 2, 1, 1, 64]),
            (24, true, [10, 5, 1, 2, 1, 1, 64]),
            (32, true, [40, 16, 4, 8, 2, 1, 256]),
            (64, true, [160, 64, 16, 32, 8, 4, 1024]),
            (128, true, [400, 160, 40, 80, 20, 10, 2560]),
            (1024, true, [3790, 1515, 379, 758, 189, 64, 24_256]),
            (1 << 20, true, [10_000, 3_750, 1_000, 2_000, 250, 64, 256 << 10]),
        ] {
            assert_eq!(fitted(mebibytes, &[]), (counts(expected), fits), "{mebibytes} MiB");
        }
    }

    #[test]
    fn short_requests_have_places_whatever_is_set() {
        for arguments in [&[][..], &["--max-uploads=100"], &["--max-pages=9", "--max-downloads=1"]]
        {
            for mebibytes in [16, 24, 32, 64, 128, 1024, 1 << 20] {
                let (counts, _) = fitted(mebibytes, arguments);
                let long = counts.uploads + counts.downloads + counts.pages;
                assert!(counts.requests > long, "{arguments:?}, {mebibytes} MiB: {counts:?}");
            }
        }
    }

    #[test]
    fn what_is_set_wins_and_leaves_the_rest_to_the_others() {
        let (default, _) = fitted(64, &[]);
        let (few, fits) = fitted(64, &["--max-connections=28", "--cache-size=512KiB"]);
        assert!(fits);
        assert_eq!((few.connections, few.cache), (28, 512 << 10));
        assert!(few.uploads > default.uploads && few.requests > default.requests, "{few:?}");
        let (many, fits) = fitted(64, &["--max-uploads=64"]);
        assert!(fits);
        assert_eq!(many.uploads, 64);
        assert!(many.connections < default.connections, "{many:?}");
        // Larger buffers are fewer.
        let (large, fits) = fitted(64, &["--upload-chunk=1MiB"]);
        assert!(fits && large.uploads < default.uploads, "{large:?}");
        // What is set is not lowered.
        let (set, fits) = fitted(64, &["--max-uploads=1000"]);
        assert!(!fits);
        assert_eq!((set.uploads, set.connections), (1000, 10));
    }

    #[test]
    fn the_manual_has_the_counts() {
        #[derive(Parser)]
        struct Cli {
            #[command(flatten)]
            config: Config,
        }
        let command = Cli::command();
        for (name, derived) in [
            ("max_connections", CONNECTIONS),
            ("max_uploads", UPLOADS),
            ("max_downloads", DOWNLOADS),
            ("max_pages", PAGES),
            ("max_encoders", ENCODERS),
            ("cache_size", CACHE),
        ] {
            let shown = |count: usize| match name {
                "cache_size" => format!("{}MiB", count >> 20),
                _ => count.to_string(),
            };
            let Derived { in_64_mib, most } = derived;
            let told = format!("[derived: {} in 64MiB, {} at most]", shown(in_64_mib), shown(most));
            let argument = command.get_arguments().find(|argument| argument.get_id() == name);
            let help = argument.and_then(|argument| argument.get_help()).unwrap().to_string();
            assert!(help.ends_with(&told), "{told}: {help}");
        }
    }
}
