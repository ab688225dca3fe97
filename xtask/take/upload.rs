//! Upload: peak flat in the body's size; who leaves leaves nothing.
//!
//! **The twin**: the body collected, then written.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use meter::Report;
use pattern::upload::{cost, receive};
use pattern::{Buffers, LocalStore, UploadLimits};
use tempfile::TempDir;

use super::Case;
use crate::rig::frames::Meeting;
use crate::rig::measure::{self, Subject};
use crate::rig::{self, MIB, Operation, Service};

pub const CASE: Case = Case {
    name: "upload",
    about: "a request body becomes a file: peak flat in its size",
    pattern: || rig::run(pattern()),
    twin: || rig::run(twin()),
};

const CHUNK: usize = 64 * 1024;

/// Uploads at once, and so buffers.
const COUNT: usize = 16;

async fn pattern() -> Result<Report> {
    let mut uploads = Uploads::new(false)?;
    let mut samples = Vec::from(measure::peak_slope(&uploads).await?);
    samples.extend(measure::retained(&uploads.idle, || uploads.abort()).await?);
    ensure!(uploads.staged()? == 0, "aborted uploads left staged files behind");
    for chunk in [16, 64, 256] {
        let chunk = chunk * 1024;
        uploads.buffers = Buffers::new(COUNT, chunk);
        let in_flight = measure::peak_per_concurrent(&uploads).await?;
        samples.push(in_flight.share_of(&format!("unit_{}k", chunk / 1024), cost(chunk)));
    }
    Ok(Report { samples })
}

async fn twin() -> Result<Report> {
    let samples = measure::peak_slope(&Uploads::new(true)?).await?;
    Ok(Report { samples: samples.into() })
}

struct Uploads {
    folder: Arc<TempDir>,
    store: LocalStore,
    buffers: Buffers,
    naive: bool,
    idle: Service,
    number: AtomicU64,
    meeting: Meeting,
}

impl Uploads {
    fn new(naive: bool) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = LocalStore::open(folder.path(), None)?;
        let (idle, number) = (Service::new(async |_| ()), AtomicU64::new(0));
        let (folder, meeting) = (Arc::new(folder), Meeting::default());
        let buffers = Buffers::new(COUNT, CHUNK);
        Ok(Self { folder, store, buffers, naive, idle, number, meeting })
    }

    fn limits(&self) -> UploadLimits {
        let (buffers, stall) = (self.buffers.clone(), Duration::from_secs(60));
        UploadLimits { max_size: 64 * MIB, buffers, borrow: 0, stall }
    }

    /// An upload that is dropped when it has written a part.
    fn abort(&self) -> Operation {
        let (store, limits) = (self.store.clone(), self.limits());
        let frame = || Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[7; 16 * 1024])));
        let sent = stream::iter((0..25).map(move |_| frame()));
        let body = StreamBody::new(sent.chain(stream::pending()));
        Box::pin(async move {
            let upload = Box::pin(receive(&store, body, limits, ()));
            let hung = tokio::time::timeout(Duration::from_millis(2), upload).await;
            ensure!(hung.is_err(), "it ended");
            Ok(())
        })
    }

    fn staged(&self) -> Result<usize> {
        Ok(std::fs::read_dir(self.folder.path().join("staging"))?.count())
    }
}

impl Subject for Uploads {
    fn service(&self) -> &Service {
        &self.idle
    }

    fn operation(&self, size: u64) -> Operation {
        let (store, limits) = (self.store.clone(), self.limits());
        let body = self.meeting.body(size);
        let name = format!("naive-{}", self.number.fetch_add(1, Relaxed));
        let path = self.naive.then(|| self.folder.path().join(name));
        Box::pin(async move {
            let Some(path) = path else {
                let received = Box::pin(receive(&store, body, limits, ())).await?;
                ensure!(received.size == size, "{} bytes of {size}", received.size);
                return Ok(());
            };
            let bytes = body.collect().await?.to_bytes();
            tokio::fs::write(&path, &bytes).await?;
            tokio::fs::remove_file(path).await?;
            ensure!(bytes.len() as u64 == size, "{} bytes of {size}", bytes.len());
            Ok(())
        })
    }

    fn check(&self, _: usize, _: u64) -> Result<()> {
        self.meeting.end();
        Ok(())
    }
}
