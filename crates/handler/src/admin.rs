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
use tower::{Service, ServiceBuilder};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::App;
use crate::probes::{LIVEZ, READYZ, livez, readyz};
use crate::problem::{REQUEST_ID, render};
use crate::routes::no_such_route;

/// The probes, with problem documents and request ids as everywhere.
pub fn admin(
    app: Arc<App>,
) -> impl Service<Request<Body>, Response = Response, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    let routes = Router::new()
        .route(LIVEZ, get(livez))
        .route(READYZ, get(readyz))
        .fallback(no_such_route)
        .with_state(app);
    ServiceBuilder::new()
        .map_request(|mut request: Request<Body>| {
            request.headers_mut().remove(REQUEST_ID);
            request
        })
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .map_response(render)
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetResponseHeaderLayer::overriding(
            X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .service(routes)
}
