//! Which handler answers what.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::map_request;
use axum::routing::{get, patch};
use http::header::CONTENT_ENCODING;
use http::{HeaderValue, StatusCode};
use tower_http::decompression::RequestDecompressionLayer;

use crate::probe_paths::{LIVEZ, READYZ};
use crate::probes::{livez, readyz};
use crate::{App, Problem, content, export, list, record, stats, upload};

/// The routes. What axum answers by itself (405 with Allow) gets its document
/// in [`crate::problem::render`].
pub fn routes(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/files", get(list::get).post(upload::post))
        .route("/v1/files/export", get(export::get))
        .route(
            "/v1/files/{id}",
            get(record::get)
                .delete(record::delete)
                // The limit on a body is inside of what decompresses it: json.rs.
                .merge(
                    patch(record::patch)
                        .layer(RequestDecompressionLayer::new())
                        .layer(map_request(plain_coding)),
                ),
        )
        .route("/v1/files/{id}/stats", get(stats::get))
        .route("/v1/files/{id}/content", get(content::get).head(content::head))
        .route(LIVEZ, get(livez))
        .route(READYZ, get(readyz))
        .fallback(no_such_route)
        .with_state(app)
}

/// 404.
pub async fn no_such_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-such-route", "There is no such route", "")
}

/// The layer that decompresses knows a coding by its one spelling. Their names have no
/// case, and gzip has two (RFC 9110, section 8.4.1).
async fn plain_coding(mut request: Request) -> Request {
    let plain = |coding: &[u8]| {
        let is = |name: &&str| coding.eq_ignore_ascii_case(name.as_bytes());
        ["gzip", "x-gzip", "identity"].iter().find(|name| is(name))
    };
    if let Some(coding) = request.headers_mut().get_mut(CONTENT_ENCODING)
        && let Some(name) = plain(coding.as_bytes())
    {
        *coding = HeaderValue::from_static(name.trim_start_matches("x-"));
    }
    request
}
