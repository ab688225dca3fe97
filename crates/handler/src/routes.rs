//! Which handler answers what.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, patch};
use http::StatusCode;
use tower_http::decompression::RequestDecompressionLayer;

use crate::probes::{LIVEZ, READYZ, livez, readyz};
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
                .merge(patch(record::patch).layer(RequestDecompressionLayer::new())),
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
