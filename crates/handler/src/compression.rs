//! Compression: as many encoders as there are permits, and no others.
//!
//! **What goes wrong**: an encoder is state that a client asks for by a header:
//! 14.5 MiB for brotli at its default, 650 MiB for zstd at its best, 338 KiB for
//! gzip, each for as long as its reader takes.
//!
//! **The pattern**: gzip at its fastest, for text that is worth it; a permit for
//! each encoder, which goes with it. Who finds none gets the response as it is:
//! it is right either way.
//!
//! What has an ETag is never encoded: the tag is strong, and names the bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use pin_project_lite::pin_project;
use tokio::sync::Semaphore;
use tower::{Layer, Service};
use tower_http::CompressionLevel;
use tower_http::compression::{CompressionLayer, Predicate};

use crate::admission::held;

/// Below this, in bytes, a response is sent as it is: one packet either way.
const LEAST: u64 = 1024;

/// What is worth encoding: what the service makes itself.
const TYPES: [&str; 3] = ["application/json", "application/x-ndjson", "text/csv"];

/// The heap that one encoder may hold, in bytes: gzip's window and tables, its
/// input and output. Held by the memory test `compression`.
#[must_use]
pub const fn cost() -> usize {
    352 * 1024
}

/// A response that an encoder was admitted for.
#[derive(Clone, Copy)]
struct Encodable;

/// Asks whether an encoder was admitted.
#[derive(Clone, Copy, Debug)]
pub struct Permitted;

impl Predicate for Permitted {
    fn should_compress<B: http_body::Body>(&self, response: &Response<B>) -> bool {
        response.extensions().get::<Encodable>().is_some()
    }
}

/// The encoders; [`PermitLayer`] goes inside.
#[must_use]
pub fn layer() -> CompressionLayer<Permitted> {
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(Permitted)
}

/// Takes a permit for each response that will be encoded.
#[derive(Clone, Debug)]
pub struct PermitLayer {
    permits: Arc<Semaphore>,
}

impl PermitLayer {
    /// As many encoders as these permits.
    #[must_use]
    pub fn new(permits: Arc<Semaphore>) -> Self {
        Self { permits }
    }
}

impl<S> Layer<S> for PermitLayer {
    type Service = Permit<S>;

    fn layer(&self, inner: S) -> Permit<S> {
        Permit { inner, permits: self.permits.clone() }
    }
}

/// See [`PermitLayer`].
#[derive(Clone, Debug)]
pub struct Permit<S> {
    inner: S,
    permits: Arc<Semaphore>,
}

impl<S> Service<Request<Body>> for Permit<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Permitting<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let permits = may_be_encoded(request.headers()).then(|| self.permits.clone());
        Permitting { inner: self.inner.call(request), permits }
    }
}

pin_project! {
    /// A response on its way.
    pub struct Permitting<F> {
        #[pin]
        inner: F,
        permits: Option<Arc<Semaphore>>,
    }
}

impl<F, E> Future for Permitting<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let permits = this.permits.take().filter(|_| is_worth_it(&response));
        let Some(permit) = permits.and_then(|permits| permits.try_acquire_owned().ok()) else {
            return Poll::Ready(Ok(response));
        };
        let mut response = response.map(|body| held(body, Some(permit)));
        response.extensions_mut().insert(Encodable);
        Poll::Ready(Ok(response))
    }
}

/// Whether the client names gzip; what it says of it exactly is for the encoder's
/// layer to read. At worst a permit is held for nothing.
fn may_be_encoded(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(ACCEPT_ENCODING).iter().map(HeaderValue::as_bytes);
    values.any(|value| value.windows(4).any(|word| word.eq_ignore_ascii_case(b"gzip")))
}

fn is_worth_it(response: &Response<Body>) -> bool {
    let headers = response.headers();
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    response.status() == StatusCode::OK
        && !headers.contains_key(ETAG)
        && TYPES.iter().any(|known| content_type.starts_with(known.as_bytes()))
        && response.body().size_hint().exact().is_none_or(|size| size >= LEAST)
}
