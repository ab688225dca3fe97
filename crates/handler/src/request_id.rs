//! A request's id: in its log lines, its response and its problem document.
//!
//! tower-http's layers make and propagate one too, and put it into both heads'
//! extensions besides: seven allocations more, each request.

use axum::body::Body;
use axum::response::Response;
use futures_util::TryFutureExt;
use http::{HeaderName, HeaderValue, Request};
use tower::{Service, ServiceExt, service_fn};
use uuid::Uuid;

/// Where a request's id stands, in requests and responses.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request an id of ours, in place of any that came with it.
pub fn set(mut request: Request<Body>) -> Request<Body> {
    let mut text = Uuid::encode_buffer();
    let id = Uuid::new_v4().hyphenated().encode_lower(&mut text);
    let id = HeaderValue::from_str(id).unwrap_or_else(|_| unreachable!("hex and hyphens"));
    request.headers_mut().insert(REQUEST_ID, id);
    request
}

/// Gives the response the id of its request.
pub fn propagate<S>(
    inner: S,
) -> impl Service<Request<Body>, Response = Response, Error = S::Error, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static
where
    S: Service<Request<Body>, Response = Response, Error: Send, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    service_fn(move |request: Request<Body>| {
        let id = request.headers().get(REQUEST_ID).cloned();
        // Not an async block: it would have room for the future twice.
        inner.clone().oneshot(request).map_ok(|mut response| {
            if let Some(id) = id {
                response.headers_mut().insert(REQUEST_ID, id);
            }
            response
        })
    })
}
