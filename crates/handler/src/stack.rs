//! The middleware: everything that a request passes through, in one place.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::X_CONTENT_TYPE_OPTIONS;
use http::{HeaderValue, Request};
use http_body::Body as HttpBody;
use tower::{Service, ServiceBuilder, layer::layer_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::{DefaultOnResponse, TraceLayer};
use tower_http::validate_request::ValidateRequestHeaderLayer;
use tracing::{Level, Span};

use crate::admission::AdmissionLayer;
use crate::compression::{self, PermitLayer};
use crate::problem::render;
use crate::request_id::{self, REQUEST_ID};
use crate::routes::routes;
use crate::{Access, App, Problem, RateLimit, rate_limit};

/// The longest path in a log line, in bytes: the formatter's buffer, one a
/// thread, keeps the size of its longest line.
const MAX_LOGGED_PATH: usize = 128;

/// The longest method in a log line, in bytes: no known one is longer.
const MAX_LOGGED_METHOD: usize = 16;

/// The routes, wrapped in what every request passes through.
///
/// It wraps the Router from outside: a layer that is handed to `Router::layer`
/// is boxed a request, each by itself.
pub fn stack(
    app: Arc<App>,
    access: Access,
    limit: RateLimit,
) -> impl Service<
    Request<Body>,
    Response = Response<
        impl HttpBody<Data = axum::body::Bytes, Error = axum::Error> + Send + 'static,
    >,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ Sync
+ 'static {
    let overload = app.overload.clone();
    ServiceBuilder::new()
        // 1. The id is ours: a client's would be as long as it likes.
        .map_request(request_id::set)
        // 2. A span a request; one log line a response.
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(span)
                .on_response(DefaultOnResponse::new().level(Level::INFO))
                // Whatever failed has said why already.
                .on_failure(()),
        )
        // 3. Errors become problem documents; the id is in the response by then. While
        //    memory is short, each is its connection's last.
        .map_response(render)
        .map_response(move |response: Response| overload.end_keep_alive(response))
        .layer(layer_fn(request_id::propagate))
        // 4. No response is taken for another type than it says.
        .layer(SetResponseHeaderLayer::overriding(
            X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        // 5. A handler that panics answers 500.
        .map_response(|response: Response<_>| response.map(Body::new))
        .layer(CatchPanicLayer::custom(panicked))
        // 6. How often a client may ask; before 7, which costs a digest a try.
        .layer(rate_limit::layer(limit, access.clone()))
        // 7. Who may ask.
        .layer(ValidateRequestHeaderLayer::custom(access))
        // 8. How many requests are in flight, to the end of the response: outside
        //    of 9, whose encoders last as long.
        .layer(AdmissionLayer::new(app.requests.clone(), app.overload.clone()))
        // 9. What is encoded: as many encoders as there are permits.
        .map_request(compression::read_accepted::<Body>)
        .layer(compression::layer())
        .layer(PermitLayer::new(app.encoders.clone(), app.overload.clone()))
        .service(routes(app))
}

fn span(request: &Request<Body>) -> Span {
    let path = request.uri().path();
    let path = &path[..path.floor_char_boundary(MAX_LOGGED_PATH)];
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let method = request.method().as_str();
    let method = &method[..method.floor_char_boundary(MAX_LOGGED_METHOD)];
    // At the level of errors, so that they have the id whatever RUST_LOG says.
    tracing::error_span!("request", method, path, id)
}

fn panicked(_panic: Box<dyn Any + Send>) -> Response {
    // The panic hook has logged it.
    Problem::internal().into_response()
}
