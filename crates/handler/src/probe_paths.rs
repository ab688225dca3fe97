//! Which requests are for a probe: they pass every bound.

use http::Uri;

/// Where liveness is asked for.
pub const LIVEZ: &str = "/livez";
/// Where readiness is asked for.
pub const READYZ: &str = "/readyz";

/// Whether a request is one for a probe.
#[must_use]
pub fn is_probe(uri: &Uri) -> bool {
    matches!(uri.path(), LIVEZ | READYZ)
}
