//! Multipart: peak flat in the size of a part.
//!
//! **The twin**: `field.bytes()`.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use axum::body::{Body, Bytes};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http_body::Frame;
use http_body_util::BodyStream;
use meter::Report;
use multer::Multipart;
use pattern::multipart::receive_all;
use streaming::{Buffers, LocalStore, UploadLimits};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::Case;
use crate::rig::measure::{self, Subject};
use crate::rig::{self, MIB, Operation, Service};

pub const CASE: Case = Case {
    name: "multipart",
    about: "a form's files, streamed: peak flat in the size of a part",
    pattern: || rig::run(measured(false)),
    twin: || rig::run(measured(true)),
};

fn limits() -> UploadLimits {
    let (buffers, stall) = (Buffers::new(1, 64 * 1024), Duration::from_secs(60));
    UploadLimits { max_size: 64 * MIB, buffers, borrow: 0, stall }
}

async fn measured(naive: bool) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let store = LocalStore::open(folder.path(), None)?;
    let idle = Service::new(async |_| ());
    let subject = Forms { _folder: folder, store, naive, idle };
    Ok(Report { samples: measure::peak_slope(&subject).await?.into() })
}

struct Forms {
    _folder: TempDir,
    store: LocalStore,
    naive: bool,
    idle: Service,
}

impl Subject for Forms {
    fn service(&self) -> &Service {
        &self.idle
    }

    fn operation(&self, size: u64) -> Operation {
        let (store, naive) = (self.store.clone(), self.naive);
        Box::pin(async move {
            let body = Body::new(Form { begun: false, left: size });
            let received = if naive {
                let frames = BodyStream::new(body);
                let frames = frames.map_ok(|frame| frame.into_data().unwrap_or_default());
                let mut form = Multipart::new(frames.boxed(), "XX");
                let field = form.next_field().await?.context("no part")?;
                field.bytes().await?.len() as u64
            } else {
                let permit = Arc::new(Semaphore::new(1)).try_acquire_owned()?;
                let received = receive_all(&store, limits(), body, "XX".into(), Arc::new(permit));
                let parts = Box::pin(received).await.map_err(|problem| anyhow!("{problem:?}"))?;
                parts.first().context("no part")?.received.size
            };
            ensure!(received == size, "{received} bytes of {size}");
            Ok(())
        })
    }

    fn check(&self, _: usize, _: u64) -> Result<()> {
        Ok(())
    }
}

/// A form of one file, which costs nothing: frames that are part of the program.
struct Form {
    begun: bool,
    left: u64,
}

impl http_body::Body for Form {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static FRAME: [u8; 16 * 1024] = [7; 16 * 1024];
        const HEAD: &[u8] =
            b"--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\n";
        let frame: &[u8] = match (std::mem::replace(&mut self.begun, true), self.left) {
            (false, _) => HEAD,
            (true, 0) => {
                // The end, and then nothing.
                self.left = u64::MAX;
                b"\r\n--XX--\r\n"
            }
            (true, u64::MAX) => return Poll::Ready(None),
            (true, left) => {
                self.left = left - FRAME.len() as u64;
                &FRAME
            }
        };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(frame)))))
    }
}
