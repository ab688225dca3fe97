//! Admission: so many requests in flight, counted to the end of the response.
//!
//! **The twin**: tower's `ConcurrencyLimitLayer`, whose permit is back when the
//! response's head is made.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Result;
use axum::body::{Body, Bytes};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use meter::{Report, Sample};
use pattern::admission::AdmissionLayer;
use pattern::overload::Overload;
use pattern::permits::Permits;
use tower::limit::ConcurrencyLimitLayer;
use tower::{ServiceBuilder, service_fn};

use super::Case;
use crate::rig::http1::serving;
use crate::rig::measure::REPETITIONS;
use crate::rig::service::quiet;
use crate::rig::{self, Service};

pub const CASE: Case = Case {
    name: "admission",
    about: "requests in flight: counted to the end of the response",
    pattern: || rig::run(pattern()),
    twin: || rig::run(twin()),
};

/// Requests at once, and how many of them are admitted.
const ASKED: usize = 64;
const ADMITTED: usize = 8;

async fn pattern() -> Result<Report> {
    let admission = AdmissionLayer::new(Arc::new(Permits::new(ADMITTED)), Overload::default());
    let service = ServiceBuilder::new().layer(admission).service(service_fn(answer));
    readers(&serving(service)).await
}

async fn twin() -> Result<Report> {
    let limit = ConcurrencyLimitLayer::new(ADMITTED);
    let service = ServiceBuilder::new().layer(limit).service(service_fn(answer));
    readers(&serving(service)).await
}

async fn answer(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::new(Frames { left: 64 })))
}

/// A body of so many frames. One large frame would not do: hyper takes it, and the body
/// is at its end.
struct Frames {
    left: usize,
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static FRAME: [u8; 16 * 1024] = [7; 16 * 1024];
        self.left = match self.left.checked_sub(1) {
            Some(left) => left,
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&FRAME)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64 * 16 * 1024)
    }
}

/// `readers`: how many responses are in flight whose clients have stalled.
async fn readers(service: &Service) -> Result<Report> {
    let mut readers = Vec::new();
    for _ in 0..REPETITIONS {
        let mut clients = Vec::new();
        for _ in 0..ASKED {
            let mut client = service.call().begin();
            client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
            client.answered().await;
            clients.push(client);
        }
        quiet().await?;
        let mut served = 0;
        for client in &mut clients {
            served += u32::from(client.head("200").await.is_ok());
        }
        readers.push(f64::from(served));
        drop(clients);
        service.closed().await;
    }
    Ok(Report { samples: vec![Sample::new("readers", readers)] })
}
