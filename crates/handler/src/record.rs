//! `GET`, `PATCH` and `DELETE /v1/files/{id}`: the record.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use headers::{ETag, Header, HeaderMapExt, LastModified};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use storage::{FileRecord, files};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::conditional::{Precondition, Validators, evaluate, evaluate_change, is_conditional};
use crate::shown::{Hex, Rfc3339};
use crate::{App, Problem, json, name};

/// A record, as a client sees it: it borrows, so that to answer copies nothing
/// but into the answer.
#[derive(Debug, Serialize)]
pub struct Record<'a> {
    /// Its id.
    pub id: Uuid,
    /// As it was given.
    pub name: &'a str,
    /// As it was given.
    pub content_type: &'a str,
    /// In bytes.
    pub size: u64,
    /// Of the content.
    pub sha256: Hex<'a>,
    /// When it was made.
    pub created_at: Rfc3339,
    /// When it was last renamed.
    pub updated_at: Rfc3339,
}

impl<'a> From<&'a FileRecord> for Record<'a> {
    fn from(record: &'a FileRecord) -> Self {
        Self {
            id: record.id,
            name: record.name(),
            content_type: record.content_type(),
            size: record.size,
            sha256: Hex(&record.sha256),
            created_at: Rfc3339(record.created_at),
            updated_at: Rfc3339(record.updated_at),
        }
    }
}

impl Record<'_> {
    /// Appends it to `out` as JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Neither a Vec nor these types can fail.
        let _ = serde_json::to_writer(out, self);
    }

    /// It as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(512);
        self.write(&mut json);
        json
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
fn representation(record: &FileRecord) -> Result<(Vec<u8>, Validators), Problem> {
    let body = Record::from(record).to_json();
    // By the bytes themselves: another serialisation is another representation.
    let etag = strong_etag(&Sha256::digest(&body)[..16])?;
    Ok((body, Validators { etag, last_modified: last_modified(record.updated_at) }))
}

/// The record, with a strong ETag.
///
/// # Errors
/// 404, 412, 500, 503.
pub async fn get(
    State(app): State<Arc<App>>,
    path: Result<Path<Uuid>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    // A HeaderMap among the arguments would be a copy.
    let (Parts { headers, .. }, _) = request.into_parts();
    let record = app.records.get(id(path)?).await?;
    let (body, validators) = representation(&record)?;
    if evaluate(&headers, &validators)? == Precondition::NotModified {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        describe(&mut response, validators);
        return Ok(response);
    }
    Ok(described(body, validators))
}

fn described(body: Vec<u8>, validators: Validators) -> Response {
    let json = HeaderValue::from_static("application/json");
    let mut response = ([(CONTENT_TYPE, json)], body).into_response();
    describe(&mut response, validators);
    response
}

fn describe(response: &mut Response, Validators { etag, last_modified }: Validators) {
    response.headers_mut().typed_insert(etag);
    response.headers_mut().typed_insert(LastModified::from(last_modified));
}

/// What a change says. An unknown member is refused: it would be ignored.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    name: String,
}

/// Renames a file: `{"name": "…"}`. With If-Match only if the record is still
/// what the client has seen; of two at once, one is told 412.
///
/// **Cancellation**: the rename may have been done. This process's cache is
/// told by the database then, like every other's.
///
/// # Errors
/// 400 (no JSON), 404, 408, 412, 413, 415, 422 (name), 500, 503.
pub async fn patch(
    State(app): State<Arc<App>>,
    path: Result<Path<Uuid>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let id = id(path)?;
    let Change { name } = json::read(&headers, body, app.upload_limits.stall).await?;
    let name = name::check(name)?;
    let revision = seen(&app, id, &headers).await?;
    let renamed = files::rename(&app.pool, id, revision, &name).await;
    // Also where it failed: it may have been done all the same.
    app.records.forget(id).await;
    let Some(record) = renamed? else { return Err(changed_or_gone(&app, id).await?) };
    let (body, validators) = representation(&record)?;
    Ok(described(body, validators))
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
    let permit = app.removals.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Problem::busy("too many files are being deleted"))?;
    let revision = seen(&app, id, &headers).await?;
    let deleted = files::delete(&app.pool, id, revision).await;
    app.records.forget(id).await;
    if !deleted? {
        return Err(changed_or_gone(&app, id).await?);
    }
    if let Err(error) = app.store.remove(id, permit).await {
        tracing::warn!(%id, %error, "content without a record could not be removed; the sweep will");
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The revision that a conditional change is for, if it is conditional and its
/// condition holds. By the database and not by the cache, which may be behind.
async fn seen(app: &App, id: Uuid, headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    if !is_conditional(headers) {
        return Ok(None);
    }
    let record = files::get(&app.pool, id).await?.ok_or_else(Problem::no_such_file)?;
    let (_, validators) = representation(&record)?;
    evaluate_change(headers, &validators)?;
    Ok(Some(record.revision))
}

/// Why a change found no record to change: it was changed between the condition
/// and this, or there is none.
async fn changed_or_gone(app: &App, id: Uuid) -> Result<Problem, Problem> {
    let record = files::get(&app.pool, id).await?;
    Ok(record.map_or_else(Problem::no_such_file, |_| Problem::precondition_failed()))
}

/// A strong entity tag: `"<hex of bytes>"`.
///
/// # Errors
/// 500; hex is always a valid tag.
pub fn strong_etag(bytes: &[u8]) -> Result<ETag, Problem> {
    // Of its size from the start; then neither grown nor copied.
    let mut tag = String::with_capacity(2 * bytes.len() + 2);
    let _ = write!(tag, "\"{}\"", Hex(bytes));
    let tag = HeaderValue::try_from(tag).map_err(|_| Problem::internal())?;
    ETag::decode(&mut std::iter::once(&tag)).map_err(|_| Problem::internal())
}

/// A time as Last-Modified says it: to the second, which is all that HTTP dates
/// have, and not later than now, wherever the database's clock may be (RFC 9110,
/// section 8.8.2.1).
#[must_use]
pub fn last_modified(at: OffsetDateTime) -> std::time::SystemTime {
    let at = at.min(OffsetDateTime::now_utc());
    at.replace_nanosecond(0).unwrap_or(at).into()
}
