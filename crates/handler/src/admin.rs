//! What the admin listener answers: to those who run the service, not to clients.
//!
//! No rate limit, no admission, no token: it is bound to where only they can ask,
//! and its connections are few. So a probe has its answer whatever the clients'
//! places hold.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use http::header::X_CONTENT_TYPE_OPTIONS;
use http::{HeaderValue, Request};
use tower::layer::layer_fn;
use tower::{Service, ServiceBuilder};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::probe_paths::{LIVEZ, READYZ};
use crate::probes::{livez, readyz};
use crate::problem::render;
use crate::routes::no_such_route;
use crate::{App, request_id};

/// The probes and `more`, with problem documents and request ids as everywhere.
pub fn admin(
    app: Arc<App>,
    more: Router,
) -> impl Service<Request<Body>, Response = Response, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    let routes = Router::new()
        .route(LIVEZ, get(livez))
        .route(READYZ, get(readyz))
        .fallback(no_such_route)
        .with_state(app)
        .merge(more);
    ServiceBuilder::new()
        .map_request(request_id::set)
        .map_response(render)
        .layer(layer_fn(request_id::propagate))
        .layer(SetResponseHeaderLayer::overriding(
            X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .service(routes)
}
