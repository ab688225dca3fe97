//! `POST /v1/files`: a raw body, or the files of a form, become files.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;
use serde::Deserialize;
use storage::FileRecord;
use storage::files::NewFile;
use streaming::upload::receive;
use streaming::{Received, StagedFile, UploadError};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::record::Record;
use crate::repr_digest::REPR_DIGEST;
use crate::{App, Problem, content_type, multipart, name, publish, repr_digest};

/// The query of an upload.
#[derive(Debug, Deserialize)]
pub struct Params {
    name: Option<String>,
}

type Permit = Arc<OwnedSemaphorePermit>;
type Staged = (StagedFile<Permit>, NewFile);

/// Receives a body, and publishes it with its record. A form has one or more
/// files, which are published together.
///
/// What can be refused is refused before the body is asked for: hyper sends
/// `100 Continue` with the first poll.
///
/// **Cancellation**: until the body is whole, a client that leaves leaves
/// nothing behind; from then on the file is published without it.
///
/// # Errors
/// 400 (query, digest field, form, a body that broke off), 408, 413, 415, 422
/// (name, type, another digest, files of a form), 500, 501 (transfer coding), 503
/// (uploads in flight, memory, database), 507.
pub async fn post(
    State(app): State<Arc<App>>,
    params: Result<Query<Params>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let identity = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(CONTENT_ENCODING).iter().all(identity) {
        return Err(unsupported("content is stored as it is sent: no Content-Encoding"));
    }
    let chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !headers.get_all(TRANSFER_ENCODING).iter().all(chunked) {
        let title = "The transfer coding is not known";
        let detail = "Transfer-Encoding: chunked, or none";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "transfer-coding", title, detail));
    }
    match multipart::boundary(&headers)? {
        None => raw(app, params, &headers, body).await,
        Some(boundary) => form(app, &headers, body, boundary).await,
    }
}

async fn raw(
    app: Arc<App>,
    params: Result<Query<Params>, QueryRejection>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Query(params) = params.map_err(|_| Problem::bad_request("the query can't be read"))?;
    let name = params.name.ok_or_else(|| Problem::invalid("name: missing from the query"))?;
    let name = name::check(name)?;
    let content_type = content_type::check(headers)?;
    let expected = repr_digest::expected(headers)?;
    let limits = app.upload_limits.clone();
    if body.size_hint().lower() > limits.max_size {
        return Err(Problem::too_large(limits.max_size));
    }
    let permit = admit(&app)?;
    let received = receive(&app.store, body, limits, permit).await?;
    repr_digest::compare(expected, received.sha256)?;
    let staged = new_file(name, content_type, received)?;
    let records = publish::publish(&app, vec![staged]).await?;
    let record = records.first().ok_or_else(Problem::internal)?;
    Ok(created(Some(record), Record::from(record).to_json()))
}

async fn form(
    app: Arc<App>,
    headers: &HeaderMap,
    body: Body,
    boundary: String,
) -> Result<Response, Problem> {
    if headers.contains_key(REPR_DIGEST) {
        return Err(Problem::bad_request("Repr-Digest: of each part, not of the form"));
    }
    // All but its framing is content: what can't fit is not asked for.
    let content = body.size_hint().lower().saturating_sub(multipart::MAX_FRAMING);
    if content > app.upload_limits.max_size {
        return Err(Problem::too_large(app.upload_limits.max_size));
    }
    app.store.quota().fits(content).map_err(UploadError::from)?;
    let permit = admit(&app)?;
    let limits = app.upload_limits.clone();
    let parts = multipart::receive_all(&app.store, limits, body, boundary, permit).await?;
    let staged =
        parts.into_iter().map(|part| new_file(part.name, part.content_type, part.received));
    let records = publish::publish(&app, staged.collect::<Result<_, _>>()?).await?;
    let mut json = b"{\"files\":[".to_vec();
    for (index, record) in records.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        Record::from(record).write(&mut json);
    }
    json.extend_from_slice(b"]}");
    let only = records.first().filter(|_| records.len() == 1);
    Ok(created(only, json))
}

fn admit(app: &App) -> Result<Permit, Problem> {
    app.overload.admits_growth()?;
    let permit = app.uploads.clone().try_acquire_owned();
    permit.map(Arc::new).map_err(|_| Problem::busy("too many uploads are in flight"))
}

fn new_file(
    name: String,
    content_type: String,
    received: Received<Permit>,
) -> Result<Staged, Problem> {
    let Received { file, size, sha256 } = received;
    let size = i64::try_from(size).map_err(|_| Problem::internal())?;
    Ok((file, NewFile { id: Uuid::now_v7(), name, content_type, size, sha256 }))
}

/// 201; Location where there is one place to name.
fn created(only: Option<&FileRecord>, json: Vec<u8>) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    let mut response = (StatusCode::CREATED, [(CONTENT_TYPE, content_type)], json).into_response();
    // An id is always a valid value.
    let location = only.and_then(|record| format!("/v1/files/{}", record.id).try_into().ok());
    response.headers_mut().extend(location.map(|location: HeaderValue| (LOCATION, location)));
    response
}

fn unsupported(detail: &'static str) -> Problem {
    let title = "The content can't be taken in this form";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", title, detail)
}
