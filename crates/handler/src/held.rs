//! A response's body that holds a permit to its end.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::OwnedSemaphorePermit;

/// A body that holds `permit` until it is dropped: boxed once, whatever it was.
pub fn held<B>(body: B, permit: Option<OwnedSemaphorePermit>) -> Body
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    match permit {
        Some(permit) => Body::new(Held { body, _permit: permit }),
        None => Body::new(body),
    }
}

pin_project! {
    struct Held<B> {
        #[pin]
        body: B,
        _permit: OwnedSemaphorePermit,
    }
}

impl<B: HttpBody> HttpBody for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
