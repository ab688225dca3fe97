//! Download: peak flat in the file's size, two chunks a stalled reader.
//!
//! **The twin**: the file read whole.

use std::pin::pin;

use anyhow::{Context as _, Result, ensure};
use http_body_util::BodyExt as _;
use meter::{Report, Sample};
use pattern::download::cost;
use pattern::{Digest, LocalStore};
use tempfile::TempDir;
use uuid::Uuid;

use super::Case;
use crate::rig::content::Content;
use crate::rig::measure::{self, REPETITIONS, Subject, WARM_UPS};
use crate::rig::service::quiet;
use crate::rig::{self, MIB, Operation, Service};

pub const CASE: Case = Case {
    name: "download",
    about: "a file becomes a response body: peak flat in its size",
    pattern: || rig::run(pattern()),
    twin: || rig::run(twin()),
};

const CHUNK: usize = 64 * 1024;

/// Readers that have stalled.
const READERS: usize = 8;

async fn pattern() -> Result<Report> {
    let downloads = Downloads::new(false)?;
    let mut samples = Vec::from(measure::peak_slope(&downloads).await?);
    samples.extend(measure::retained(&downloads.idle, || downloads.abort()).await?);
    for chunk in [16, 64, 256] {
        samples.push(downloads.unit(chunk * 1024).await?);
    }
    Ok(Report { samples })
}

async fn twin() -> Result<Report> {
    let samples = measure::peak_slope(&Downloads::new(true)?).await?;
    Ok(Report { samples: samples.into() })
}

struct Downloads {
    folder: TempDir,
    store: LocalStore,
    files: Vec<(u64, Uuid, Digest)>,
    naive: bool,
    idle: Service,
}

impl Downloads {
    /// A store with a file of every size that is measured.
    fn new(naive: bool) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = LocalStore::open(folder.path(), None)?;
        let mut files = Vec::new();
        for size in measure::SIZES.map(|mib| mib * MIB) {
            let (key, mut content) = (Uuid::new_v4(), Content::new());
            content.write(&folder.path().join("content").join(key.to_string()), size)?;
            files.push((size, key, content.digest(size)));
        }
        Ok(Self { folder, store, files, naive, idle: Service::new(async |_| ()) })
    }

    fn abort(&self) -> Operation {
        let (store, (size, key, sha256)) = (self.store.clone(), self.files[0]);
        Box::pin(async move {
            let content = store.content(key, ()).await?;
            let mut body = content.into_body(0..size, CHUNK, sha256);
            for _ in 0..5 {
                body.frame().await.context("no frame")??;
            }
            Ok(())
        })
    }

    /// What a stalled reader holds at the worst position: the connection has asked for
    /// a chunk while a part of the last is left.
    async fn unit(&self, chunk: usize) -> Result<Sample> {
        let (size, key, sha256) = self.files[0];
        let mut held = Vec::new();
        for _ in 0..WARM_UPS + REPETITIONS {
            let mut readers = Vec::with_capacity(READERS);
            let before = quiet().await?;
            for _ in 0..READERS {
                let content = self.store.content(key, ()).await?;
                let mut body = Box::pin(content.into_body(0..size, chunk, sha256));
                let first = body.frame().await.context("no frame")??;
                let second = body.frame().await.context("no frame")??;
                readers.push((body, first, second));
            }
            held.push((quiet().await? - before) as f64 / READERS as f64);
        }
        let sample = Sample::new("stalled_reader", held.split_off(WARM_UPS));
        Ok(sample.share_of(&format!("unit_{}k", chunk / 1024), cost(chunk)))
    }
}

impl Subject for Downloads {
    fn service(&self) -> &Service {
        &self.idle
    }

    fn operation(&self, size: u64) -> Operation {
        let store = self.store.clone();
        let file = self.files.iter().copied().find(|(of, ..)| *of == size);
        let (key, sha256) = file.map(|(_, key, sha256)| (key, sha256)).unwrap_or_default();
        let path = self.folder.path().join("content").join(key.to_string());
        let naive = self.naive;
        Box::pin(async move {
            let mut read = 0;
            if naive {
                read = tokio::fs::read(path).await?.len() as u64;
            } else {
                let content = store.content(key, ()).await?;
                let mut body = pin!(content.into_body(0..size, CHUNK, sha256));
                while let Some(frame) = body.frame().await {
                    read += frame?.data_ref().map_or(0, bytes::Bytes::len) as u64;
                }
            }
            ensure!(read == size, "{read} bytes of {size}");
            Ok(())
        })
    }

    fn check(&self, _: usize, _: u64) -> Result<()> {
        Ok(())
    }
}
