//! Who may ask: bearers of a token, or whoever sits at this machine.
//!
//! Tokens are kept as SHA-256 and compared in constant time. Without tokens the
//! service listens on loopback only, and a browser is the danger: a page from
//! elsewhere may send it requests (CSRF), or pass for its own origin (DNS
//! rebinding). So Host must name this machine, Origin must be this service, and
//! Sec-Fetch-Site must not say otherwise. A target that names a host by itself
//! (RFC 9112, section 3.2.2) must name the same one.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, Version};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use tower_http::validate_request::ValidateRequest;

use crate::Problem;
use crate::probe_paths::is_probe;

/// Who may ask. The probes are open to all.
#[derive(Clone, Debug)]
pub enum Access {
    /// Anyone on this machine, but no page from another origin.
    Loopback,
    /// Bearers of one of these tokens, given as their SHA-256.
    Tokens(Arc<[[u8; 32]]>),
}

impl Access {
    /// Which of the tokens the request bears, by its place in the list; None
    /// where it bears none of them.
    #[must_use]
    pub fn token(&self, headers: &HeaderMap) -> Option<u16> {
        match self {
            Self::Loopback => None,
            Self::Tokens(tokens) => find(tokens, headers),
        }
    }

    /// How many tokens there are.
    #[must_use]
    pub fn tokens(&self) -> usize {
        match self {
            Self::Loopback => 0,
            Self::Tokens(tokens) => tokens.len(),
        }
    }

    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Box<Response>> {
        match self {
            Self::Loopback if is_own_origin(uri, headers) => Ok(()),
            Self::Loopback => Err(Box::new(
                Problem::new(
                    StatusCode::FORBIDDEN,
                    "foreign-origin",
                    "Requests from other origins are refused",
                    "without tokens, Host, Origin and Sec-Fetch-Site must be this service's own",
                )
                .into_response(),
            )),
            Self::Tokens(tokens) if find(tokens, headers).is_some() => Ok(()),
            Self::Tokens(_) => {
                let problem = Problem::new(
                    StatusCode::UNAUTHORIZED,
                    "unauthorized",
                    "A valid token is needed",
                    "send Authorization: Bearer <token>",
                );
                let challenge = HeaderValue::from_static("Bearer");
                Err(Box::new(([(WWW_AUTHENTICATE, challenge)], problem).into_response()))
            }
        }
    }
}

impl ValidateRequest<Body> for Access {
    type ResponseBody = Body;

    fn validate(&mut self, request: &mut Request<Body>) -> Result<(), Response> {
        // RFC 9112, section 3.2; hyper does not look.
        let hosts = request.headers().get_all(HOST).iter().count();
        if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
            return Err(Problem::bad_request("Host: exactly one").into_response());
        }
        if is_probe(request.uri()) {
            return Ok(());
        }
        self.check(request.uri(), request.headers()).map_err(|response| *response)
    }
}

fn find(tokens: &[[u8; 32]], headers: &HeaderMap) -> Option<u16> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return None;
    }
    let digest: [u8; 32] = Sha256::digest(token.trim_ascii_start()).into();
    // Every token is compared, whether or not one has matched.
    let mut found = None;
    for (place, token) in (0..).zip(tokens) {
        if bool::from(token.ct_eq(&digest)) {
            found = Some(place);
        }
    }
    found
}

fn is_own_origin(uri: &Uri, headers: &HeaderMap) -> bool {
    let Some(Ok(host)) = headers.get(HOST).map(HeaderValue::to_str) else { return false };
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let host_is_us = is_loopback(authority.host()) && !host.contains('@');
    let target_is_us = uri.authority().is_none_or(|target| *target == authority);

    let mut origins = headers.get_all(ORIGIN).iter();
    let origin_is_us = origins.all(|origin| {
        origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://")) == Some(host)
    });
    let mut sites = headers.get_all("sec-fetch-site").iter();
    let site_is_us = sites.all(|site| site == "same-origin" || site == "none");

    host_is_us && target_is_us && origin_is_us && site_is_us
}

fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(fields: &[(&str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: http::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        is_own_origin(&Uri::from_static("/"), &headers)
    }

    #[test]
    fn this_machine_by_any_of_its_names_is_own() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:1", "127.9.9.9", "[::1]:8080"] {
            assert!(own(&[("host", host)]), "{host}");
        }
    }

    #[test]
    fn a_rebound_name_is_foreign() {
        for host in
            ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil.example", ""]
        {
            assert!(!own(&[("host", host)]), "{host}");
        }
        assert!(!own(&[]), "no Host");
    }

    #[test]
    fn another_origin_is_foreign_even_on_this_machine() {
        let host = ("host", "localhost:8080");
        assert!(own(&[
            host,
            ("origin", "http://localhost:8080"),
            ("sec-fetch-site", "same-origin")
        ]));
        for origin in
            ["http://localhost:3000", "https://localhost:8080", "null", "http://evil.example"]
        {
            assert!(!own(&[host, ("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site"] {
            assert!(!own(&[host, ("sec-fetch-site", site)]), "{site}");
        }
    }
}
