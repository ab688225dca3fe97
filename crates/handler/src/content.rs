//! `GET` and `HEAD /v1/files/{id}/content`: the bytes, whole or in part.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use headers::{AcceptRanges, ContentRange, HeaderMapExt, LastModified};
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use storage::audit::Event;
use storage::{FileRecord, files};
use time::OffsetDateTime;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::conditional::{Precondition, Unsatisfiable, Validators, evaluate, range};
use crate::record::{id, last_modified, strong_etag};
use crate::repr_digest::{self, REPR_DIGEST};
use crate::{App, Problem, name};

/// The bytes; or those of one range (206). Several ranges get the whole.
///
/// Where the whole turns out not to have the record's SHA-256, the connection breaks
/// off before the last bytes. A range can't be checked so: who joins ranges compares
/// Repr-Digest.
///
/// # Errors
/// 404, 412, 416, 500 (the content is not what the record says), 503.
pub async fn get(
    State(app): State<Arc<App>>,
    path: Result<Path<Uuid>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (record, validators) = find(&app, id(path)?).await?;
    let size = record.size;
    if evaluate(&headers, &validators)? == Precondition::NotModified {
        return described(&record, &validators, StatusCode::NOT_MODIFIED.into_response());
    }
    let part = match range(&headers, &validators, size) {
        Ok(part) => part,
        Err(Unsatisfiable) => return Ok(unsatisfiable(size)),
    };
    let content = match app.store.content(record.id, admit(&app)?).await {
        Ok(content) => content,
        Err(error) => return Err(lost(&app, record.id, error).await),
    };
    ensure_whole(&record, content.size())?;

    let mut status = StatusCode::OK;
    let mut fields = HeaderMap::new();
    if let Some(part) = &part {
        status = StatusCode::PARTIAL_CONTENT;
        let content_range = ContentRange::bytes(part.clone(), size);
        fields.typed_insert(content_range.map_err(|_| Problem::internal())?);
    }
    if part.as_ref().is_none_or(|part| part.start == 0) {
        app.audit.record(Event { file_id: record.id, at: OffsetDateTime::now_utc() });
    }
    let id = record.id;
    let body = content.into_body(part.unwrap_or(0..size), app.chunks.clone(), record.sha256);
    let body = body.map_err(move |error| {
        tracing::error!(%id, %error, "a download was broken off: the content can't be read as it was stored");
        error
    });
    described(&record, &validators, (status, fields, Body::new(body)).into_response())
}

/// What [`get`] would say of the whole, without its bytes: Range is for GET. It opens
/// the content too, and so takes a place for as long.
///
/// # Errors
/// 404, 412, 500 (the content is not what the record says), 503.
pub async fn head(
    State(app): State<Arc<App>>,
    path: Result<Path<Uuid>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (record, validators) = find(&app, id(path)?).await?;
    let size = record.size;
    if evaluate(&headers, &validators)? == Precondition::NotModified {
        return described(&record, &validators, StatusCode::NOT_MODIFIED.into_response());
    }
    match app.store.size(record.id, admit(&app)?).await {
        Ok(found) => ensure_whole(&record, found)?,
        Err(error) => return Err(lost(&app, record.id, error).await),
    }
    let response = [(CONTENT_LENGTH, HeaderValue::from(size))].into_response();
    described(&record, &validators, response)
}

fn admit(app: &App) -> Result<OwnedSemaphorePermit, Problem> {
    let permit = app.downloads.clone().try_acquire_owned();
    permit.map_err(|_| Problem::busy("too many downloads are in flight"))
}

async fn find(app: &App, id: Uuid) -> Result<(Arc<FileRecord>, Validators), Problem> {
    let record = app.records.get(id).await?;
    let etag = strong_etag(&record.sha256)?;
    // Of the content: renaming does not change it.
    let last_modified = last_modified(record.created_at);
    Ok((record, Validators { etag, last_modified }))
}

/// Makes sure that content has the size of its record. Bytes that were altered in place
/// are noticed when they have been read.
fn ensure_whole(record: &FileRecord, found: u64) -> Result<(), Problem> {
    if found == record.size {
        return Ok(());
    }
    tracing::error!(id = %record.id, expected = record.size, found, "content is damaged");
    Err(Problem::internal())
}

/// Why there is no content: deleted since the record was read, or kept? Else it is lost.
async fn lost(app: &App, id: Uuid, error: io::Error) -> Problem {
    if error.kind() != io::ErrorKind::NotFound {
        return error.into();
    }
    match files::get(&app.pool, id).await {
        Ok(None) => Problem::no_such_file(),
        Ok(Some(_)) => {
            tracing::error!(%id, "content is missing");
            Problem::internal()
        }
        Err(error) => error.into(),
    }
}

fn described(
    record: &FileRecord,
    validators: &Validators,
    mut response: Response,
) -> Result<Response, Problem> {
    let status = response.status();
    let fields = response.headers_mut();
    fields.typed_insert(validators.etag.clone());
    fields.typed_insert(LastModified::from(validators.last_modified));
    if status == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    let content_type = HeaderValue::try_from(record.content_type());
    fields.insert(CONTENT_TYPE, content_type.map_err(|_| Problem::internal())?);
    fields.insert(CONTENT_DISPOSITION, name::disposition(record.name()));
    // A page among the files must not act as one of the service.
    let sandbox = HeaderValue::from_static("sandbox; default-src 'none'");
    fields.insert(CONTENT_SECURITY_POLICY, sandbox);
    fields.typed_insert(AcceptRanges::bytes());
    if let Some(digest) = repr_digest::value(&record.sha256) {
        fields.insert(REPR_DIGEST, digest);
    }
    Ok(response)
}

fn unsatisfiable(size: u64) -> Response {
    let problem = Problem::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "range-not-satisfiable",
        "The range lies outside of the content",
        format!("the content has {size} bytes"),
    );
    let mut response = problem.into_response();
    response.headers_mut().typed_insert(ContentRange::unsatisfied_bytes(size));
    response
}
