//! `GET` and `DELETE /v1/files/{id}`: the record.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use headers::{ETag, HeaderMapExt};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use storage::{FileRecord, files};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::conditional::{Precondition, Validators, evaluate, evaluate_change, is_conditional};
use crate::{App, Problem};

/// A record, as a client sees it.
#[derive(Debug, Serialize)]
pub struct Record {
    /// Its id.
    pub id: Uuid,
    name: String,
    content_type: String,
    size: i64,
    sha256: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl From<FileRecord> for Record {
    fn from(record: FileRecord) -> Self {
        let FileRecord { id, name, content_type, size, sha256, created_at } = record;
        Self { id, name, content_type, size, sha256: hex(&sha256), created_at }
    }
}

/// The path's id. What is no id names no file.
///
/// # Errors
/// 404.
pub fn id(path: Result<Path<Uuid>, PathRejection>) -> Result<Uuid, Problem> {
    path.map(|Path(id)| id).map_err(|_| Problem::no_such_file())
}

/// A record's bytes, and what they are known by.
async fn representation(app: &App, id: Uuid) -> Result<(Vec<u8>, Validators), Problem> {
    let record = files::get(&app.pool, id).await?.ok_or_else(Problem::no_such_file)?;
    let last_modified = truncated(record.created_at);
    let body = serde_json::to_vec(&Record::from(record)).map_err(|_| Problem::internal())?;
    // By the bytes themselves: another serialisation is another representation.
    let etag = strong_etag(&Sha256::digest(&body)[..16])?;
    Ok((body, Validators { etag, last_modified }))
}

/// The record, with a strong ETag.
///
/// # Errors
/// 404, 412, 500, 503.
pub async fn get(
    State(app): State<Arc<App>>,
    path: Result<Path<Uuid>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (body, validators) = representation(&app, id(path)?).await?;
    let mut response = match evaluate(&headers, &validators)? {
        Precondition::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Precondition::Passed => {
            let json = HeaderValue::from_static("application/json");
            ([(CONTENT_TYPE, json)], body).into_response()
        }
    };
    response.headers_mut().typed_insert(validators.etag);
    Ok(response)
}

/// Deletes the record, then the content. Downloads under way go on.
///
/// **Cancellation**: once the record is gone, content that is not is swept.
///
/// # Errors
/// 404, 412, 500, 503.
pub async fn delete(
    State(app): State<Arc<App>>,
    path: Result<Path<Uuid>, PathRejection>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let id = id(path)?;
    if is_conditional(&headers) {
        // A record never changes: between this and the deletion it can only go.
        let (_, validators) = representation(&app, id).await?;
        evaluate_change(&headers, &validators)?;
    }
    if !files::delete(&app.pool, id).await? {
        return Err(Problem::no_such_file());
    }
    if let Err(error) = app.store.remove(id).await {
        tracing::warn!(%id, %error, "content without a record could not be removed; the sweep will");
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A strong entity tag: `"<hex of bytes>"`.
///
/// # Errors
/// 500; hex is always a valid tag.
pub fn strong_etag(bytes: &[u8]) -> Result<ETag, Problem> {
    format!("\"{}\"", hex(bytes)).parse().map_err(|_| Problem::internal())
}

/// To the second, which is all that HTTP dates have.
#[must_use]
pub fn truncated(at: OffsetDateTime) -> std::time::SystemTime {
    at.replace_nanosecond(0).unwrap_or(at).into()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
