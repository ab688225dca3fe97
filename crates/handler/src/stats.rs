//! `GET /v1/files/{id}/stats`: how often a file was downloaded, as far as the
//! audit queue has been written.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::Serialize;
use storage::files;
use uuid::Uuid;

use crate::record::id;
use crate::shown::Rfc3339;
use crate::{App, Problem};

/// The statistics of a file.
#[derive(Debug, Serialize)]
pub struct Stats {
    downloads: i64,
    last_downloaded_at: Option<Rfc3339>,
}

/// The statistics. A download counts when it begins, at the file's first byte:
/// one that is resumed counts once.
///
/// # Errors
/// 404, 500, 503.
pub async fn get(
    State(app): State<Arc<App>>,
    path: Result<Path<Uuid>, PathRejection>,
) -> Result<Json<Stats>, Problem> {
    let stats = files::stats(&app.pool, id(path)?).await?.ok_or_else(Problem::no_such_file)?;
    Ok(Json(Stats {
        downloads: stats.downloads,
        last_downloaded_at: stats.last_downloaded_at.map(Rfc3339),
    }))
}
