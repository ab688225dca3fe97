//! The twin of cleanup: what it takes it gives back at the end, if that comes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use futures_util::TryStreamExt;
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};
use storage::files::{self, NewFile};
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

/// What the twin takes and gives back by hand.
pub struct Naive {
    pub url: String,
    pub content: PathBuf,
    pub places: AtomicU64,
    pub quota: AtomicU64,
    /// Connections to the database: those that were made, and those that are idle.
    pub made: AtomicU64,
    pub idle: Mutex<Vec<PgConnection>>,
    /// For a page that shows uploads in flight: how far each is.
    pub progress: Mutex<HashMap<Uuid, u64>>,
}

pub fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same work as the pattern's: digest, staged file, record.
pub async fn receive(
    State(naive): State<Arc<Naive>>,
    body: Body,
) -> Result<impl IntoResponse, StatusCode> {
    let id = Uuid::now_v7();
    naive.places.fetch_add(1, Ordering::Relaxed);
    lock(&naive.progress).insert(id, 0);
    let staging = naive.content.with_file_name("staging").join(id.to_string());
    let (result, taken) = store(&naive, id, &staging, body).await;
    if result.is_err() {
        let _ = tokio::fs::remove_file(&staging).await;
    }
    naive.quota.fetch_sub(taken, Ordering::Relaxed);
    lock(&naive.progress).remove(&id);
    naive.places.fetch_sub(1, Ordering::Relaxed);
    result.map(|()| (StatusCode::CREATED, id.to_string())).map_err(|_| StatusCode::BAD_REQUEST)
}

async fn store(
    naive: &Naive,
    id: Uuid,
    staging: &std::path::Path,
    body: Body,
) -> (Result<()>, u64) {
    let mut size = 0;
    let stored = async {
        let mut connection = take_connection(naive).await?;
        let mut file = tokio::fs::File::create(staging).await?;
        let (mut body, mut hasher) = (body.into_data_stream(), Sha256::new());
        while let Some(chunk) = body.try_next().await? {
            hasher.update(&chunk);
            file.write_all(&chunk).await?;
            size += chunk.len() as u64;
            naive.quota.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            lock(&naive.progress).insert(id, size);
        }
        file.sync_all().await?;
        tokio::fs::rename(staging, naive.content.join(id.to_string())).await?;
        let [name, content_type] = ["naive", "application/octet-stream"].map(str::to_owned);
        let sha256 = hasher.finalize().into();
        let file = NewFile { id, name, content_type, size: i64::try_from(size)?, sha256 };
        files::insert(&mut connection, &file).await?;
        lock(&naive.idle).push(connection);
        anyhow::Ok(())
    };
    let stored = stored.await;
    (stored, size)
}

async fn take_connection(naive: &Naive) -> Result<PgConnection> {
    let idle = lock(&naive.idle).pop();
    if let Some(connection) = idle {
        return Ok(connection);
    }
    naive.made.fetch_add(1, Ordering::Relaxed);
    Ok(PgConnection::connect(&naive.url).await?)
}
