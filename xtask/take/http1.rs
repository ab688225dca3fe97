//! Connections to a tower service, by hyper's HTTP/1 with a bounded buffer.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use http::{Request, Response};
use http_body::Body as HttpBody;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tower::ServiceExt as _;

use super::Service;

/// hyper's buffer, each way, in bytes.
const BUFFER: usize = 16 * 1024;

/// Serves each connection by a clone of `service`.
pub fn serving<S, B>(service: S) -> Service
where
    S: tower::Service<Request<Body>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static,
{
    Service::new(move |io| {
        let service = service.clone();
        async move {
            let service =
                service_fn(|request: Request<_>| service.clone().oneshot(request.map(Body::new)));
            let mut builder = http1::Builder::new();
            builder.max_buf_size(BUFFER).header_read_timeout(None);
            // A client that leaves is no error here.
            let _ = builder.serve_connection(TokioIo::new(io), service).await;
        }
    })
}
