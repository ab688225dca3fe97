//! Admission: so many requests in flight, counted to the end of the response.
//!
//! **What goes wrong**: a concurrency limit in front of a router gives its permit
//! back when the response's *head* is made: with a limit of 2, 50 stalled
//! downloads, and 2 permits free (measured). And who waits for a permit waits in
//! memory.
//!
//! **The pattern**: the permit moves into the response's body, and goes with its
//! end. Who finds none is told so at once: load is shed, not queued. So it is, permits
//! or not, while memory is short: [`overload`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::response::IntoResponse;
use futures_util::future::Either;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tokio::sync::OwnedSemaphorePermit;
use tower::{Layer, Service};

use crate::Problem;
use crate::held::held;
use crate::overload::{self, Overload, Shed};
use crate::permits::Permits;
use crate::probe_paths::is_probe;

/// What a head's fields take as a map, in bytes, as many as hyper takes (100): 14
/// KiB, measured.
const FIELDS: usize = 14 * 1024;

/// What a head may pin beyond the buffers of a connection, in bytes, however small
/// those are.
const LEAST_HEAD: usize = 16 * 1024;

/// The heap that an admitted request may hold beside its connection, in bytes, for
/// a connection's buffer of `buffer` bytes: the buffer that its head lies in, the
/// head's fields, and a body that is being read as JSON. The wait for the database
/// comes after that, and is less: 48 KiB in all. Uploads, downloads and pages pay
/// for their own buffers. Held by the memory test `admission`.
#[must_use]
pub const fn cost(buffer: usize) -> usize {
    let head = if buffer > LEAST_HEAD { buffer } else { LEAST_HEAD };
    head + FIELDS + crate::json::cost()
}

/// Admits as many requests as there are permits. The probes are always admitted.
#[derive(Clone, Debug)]
pub struct AdmissionLayer {
    permits: Arc<Permits>,
    overload: Overload,
}

impl AdmissionLayer {
    /// By these permits, unless requests are shed.
    #[must_use]
    pub fn new(permits: Arc<Permits>, overload: Overload) -> Self {
        Self { permits, overload }
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission { inner, layer: self.clone() }
    }
}

/// See [`AdmissionLayer`].
#[derive(Clone, Debug)]
pub struct Admission<S> {
    inner: S,
    layer: AdmissionLayer,
}

impl<S, B> Service<Request<Body>> for Admission<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<std::future::Ready<Result<Response<Body>, S::Error>>, Admitted<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let AdmissionLayer { permits, overload } = &self.layer;
        if overload.sheds(Shed::Requests) && !is_probe(request.uri()) {
            return Either::Left(std::future::ready(Ok(overload::refusal())));
        }
        let permit = match permits.clone().try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) if is_probe(request.uri()) => None,
            Err(_) => {
                let refusal = Problem::busy("too many requests are in flight").into_response();
                return Either::Left(std::future::ready(Ok(refusal)));
            }
        };
        Either::Right(Admitted { inner: self.inner.call(request), permit })
    }
}

pin_project! {
    /// A request that was admitted.
    pub struct Admitted<F> {
        #[pin]
        inner: F,
        permit: Option<OwnedSemaphorePermit>,
    }
}

impl<F, B, E> Future for Admitted<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = std::task::ready!(this.inner.poll(cx))?;
        let permit = this.permit.take();
        Poll::Ready(Ok(response.map(|body| held(body, permit))))
    }
}
