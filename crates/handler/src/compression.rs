//! Compression: as many encoders as there are permits, and no others.
//!
//! **What goes wrong**: an encoder is state that a client asks for by a header:
//! 14.5 MiB for brotli at its default, 650 MiB for zstd at its best, 338 KiB for
//! gzip, each for as long as its reader takes.
//!
//! **The pattern**: gzip at its fastest, for text that is worth it; a permit for
//! each encoder, which goes with it. Who finds none, or comes while memory is short,
//! gets the response as it is: it is right either way.
//!
//! What has an ETag is never encoded: the tag is strong, and names the bytes.
//!
//! Nor is anything refused for what a client accepts. The encoder's layer would, by
//! 406, and after the handler has done its work: an upload that was kept would be
//! told as refused. So [`read_accepted`] reads the field, and the layer gets what it
//! can't refuse.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use pin_project_lite::pin_project;
use tokio::sync::OwnedSemaphorePermit;
use tower::{Layer, Service};
use tower_http::CompressionLevel;
use tower_http::compression::{CompressionLayer, Predicate};

use crate::held::held;
use crate::overload::{Overload, Shed};
use crate::permits::Permits;

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

/// Leaves `gzip` of what the client accepts, or nothing; goes outside of [`layer`].
#[must_use]
pub fn read_accepted<B>(mut request: Request<B>) -> Request<B> {
    let headers = request.headers_mut();
    if accepts_gzip(headers) {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    } else {
        headers.remove(ACCEPT_ENCODING);
    }
    request
}

/// Whether the client names gzip, with any weight but 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let mut codings = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    codings.any(|coding| {
        let mut parts = coding.splitn(2, |byte| *byte == b';');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let is_more_than_0 = |weight: &[u8]| weight.iter().any(|byte| matches!(byte, b'1'..=b'9'));
        name.eq_ignore_ascii_case(b"gzip") && parts.next().is_none_or(is_more_than_0)
    })
}

/// Takes a permit for each response that will be encoded. One that could have been,
/// and is not, says so: a cache must not give it to all (Vary).
#[derive(Clone, Debug)]
pub struct PermitLayer {
    permits: Arc<Permits>,
    overload: Overload,
}

impl PermitLayer {
    /// As many encoders as these permits, unless growth is shed.
    #[must_use]
    pub fn new(permits: Arc<Permits>, overload: Overload) -> Self {
        Self { permits, overload }
    }

    fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if self.overload.sheds(Shed::Growth) {
            return None;
        }
        self.permits.clone().try_acquire_owned().ok()
    }
}

impl<S> Layer<S> for PermitLayer {
    type Service = Permit<S>;

    fn layer(&self, inner: S) -> Permit<S> {
        Permit { inner, layer: self.clone() }
    }
}

/// See [`PermitLayer`].
#[derive(Clone, Debug)]
pub struct Permit<S> {
    inner: S,
    layer: PermitLayer,
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
        let accepts = request.headers().contains_key(ACCEPT_ENCODING);
        let layer = accepts.then(|| self.layer.clone());
        Permitting { inner: self.inner.call(request), layer }
    }
}

pin_project! {
    /// A response on its way.
    pub struct Permitting<F> {
        #[pin]
        inner: F,
        layer: Option<PermitLayer>,
    }
}

impl<F, E> Future for Permitting<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if !is_worth_it(&response) {
            return Poll::Ready(Ok(response));
        }
        let Some(permit) = this.layer.take().and_then(|layer| layer.permit()) else {
            // Where there is an encoder, its layer says the same.
            response.headers_mut().append(VARY, ACCEPT_ENCODING.into());
            return Poll::Ready(Ok(response));
        };
        let mut response = response.map(|body| held(body, Some(permit)));
        response.extensions_mut().insert(Encodable);
        Poll::Ready(Ok(response))
    }
}

fn is_worth_it(response: &Response<Body>) -> bool {
    let headers = response.headers();
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    response.status() == StatusCode::OK
        && !headers.contains_key(ETAG)
        && TYPES.iter().any(|known| content_type.starts_with(known.as_bytes()))
        && size(response).is_none_or(|size| size >= LEAST)
}

/// How large the response is, in bytes, or what GET would get where this is for
/// HEAD: axum has taken its body by then, and left its length, if it was known.
fn size(response: &Response<Body>) -> Option<u64> {
    let length = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse().ok());
    length.or_else(|| response.body().size_hint().exact().filter(|size| *size > 0))
}
