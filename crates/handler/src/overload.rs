//! Overload: what is refused while memory is short.
//!
//! **What goes wrong**: a service that is near its limit takes on what will need
//! memory for minutes, and the kernel ends it with everything else that it does.
//!
//! **The pattern**: who measures says what to shed; each request asks, by one relaxed
//! load. First what is large or lasts is refused (uploads, exports; encoders are left
//! out), and keep-alive ends, so that clients can come back elsewhere; then all but
//! probes. The actions are those of Envoy's overload manager
//! (`disable_http_keepalive`, `stop_accepting_requests`), with one of ours between.
//! What was begun goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::response::Response;
use http::HeaderValue;
use http::header::CONNECTION;

use crate::Problem;

/// What is shed; each includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Shed {
    /// All is served.
    #[default]
    Nothing,
    /// New uploads, exports and encoders; and keep-alive.
    Growth,
    /// All requests but those for a probe.
    Requests,
}

/// What is shed at this moment. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Overload(Arc<AtomicU8>);

impl Overload {
    /// For whoever measures: from now on.
    pub fn shed(&self, shed: Shed) {
        self.0.store(shed as u8, Ordering::Relaxed);
    }

    /// Whether this is shed now.
    #[must_use]
    pub fn sheds(&self, shed: Shed) -> bool {
        self.0.load(Ordering::Relaxed) >= shed as u8
    }

    /// For what takes much, or for long.
    ///
    /// # Errors
    /// 503, while that is shed.
    pub fn admits_growth(&self) -> Result<(), Problem> {
        if self.sheds(Shed::Growth) {
            return Err(Problem::busy("memory is short: no uploads or exports are taken on"));
        }
        Ok(())
    }

    /// Lets the client know that this connection ends with this response, while
    /// keep-alive is shed. hyper closes it for the field's sake.
    pub fn end_keep_alive<B>(&self, mut response: http::Response<B>) -> http::Response<B> {
        if self.sheds(Shed::Growth) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// 503, for all while [`Shed::Requests`] is shed.
#[must_use]
pub fn refusal() -> Response {
    use axum::response::IntoResponse;
    Problem::busy("memory is short: only probes are answered").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sheds_requests_sheds_all_before_it() {
        let overload = Overload::default();
        for (now, growth, requests) in [
            (Shed::Nothing, false, false),
            (Shed::Growth, true, false),
            (Shed::Requests, true, true),
            (Shed::Nothing, false, false),
        ] {
            overload.clone().shed(now);
            let found = (overload.sheds(Shed::Growth), overload.sheds(Shed::Requests));
            assert_eq!(found, (growth, requests), "{now:?}");
            assert_eq!(overload.admits_growth().is_err(), growth, "{now:?}");
            let response = overload.end_keep_alive(http::Response::new(()));
            assert_eq!(response.headers().contains_key(CONNECTION), growth, "{now:?}");
        }
    }
}
