//! What the service says: one line an event, on stderr.

use std::io::{IsTerminal, stderr};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::log_line::{LogLine, Members};

/// Starts logging: pretty on a terminal, JSON otherwise. RUST_LOG filters.
///
/// # Errors
/// A filter that can't be read, or logging that was started before.
pub fn start() -> anyhow::Result<()> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(&filter).with_context(|| format!("RUST_LOG={filter}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = if stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        // The current span says it all: spans do not nest here.
        builder.fmt_fields(Members).event_format(LogLine).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("logging can't be started: {error}"))
}

/// Shows a token that was made, once.
pub fn announce(token: &str) {
    let told = "listening beyond loopback without TOKENS_SHA256: this token was made, and is \
                shown once";
    if tracing::enabled!(tracing::Level::WARN) {
        tracing::warn!(token, "{told}");
    } else {
        // Whatever RUST_LOG says: nobody could ask anything.
        eprintln!("{told}: {token}");
    }
}
