//! `POST /v1/files?name=…`: the raw body becomes a file.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;
use serde::Deserialize;
use storage::files::NewFile;
use streaming::upload::receive;
use uuid::Uuid;

use crate::record::Record;
use crate::{App, Problem, name, publish, repr_digest};

/// The longest content type, in bytes: the table's limit.
const MAX_CONTENT_TYPE: usize = 255;

/// The query of an upload.
#[derive(Debug, Deserialize)]
pub struct Params {
    name: Option<String>,
}

/// Receives a body, and publishes it with its record.
///
/// What can be refused is refused before the body is asked for: hyper sends
/// `100 Continue` with the first poll.
///
/// **Cancellation**: until the body is whole, a client that leaves leaves
/// nothing behind; from then on the file is published without it.
///
/// # Errors
/// 400 (query, digest field, a body that broke off), 408, 413, 415, 422 (name,
/// type, another digest), 500, 501 (transfer coding), 503 (uploads in flight, database), 507.
pub async fn post(
    State(app): State<Arc<App>>,
    params: Result<Query<Params>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, [(http::HeaderName, String); 1], Json<Record>), Problem> {
    let Query(params) = params.map_err(|_| Problem::bad_request("the query can't be read"))?;
    let name = params.name.ok_or_else(|| Problem::invalid("name: missing from the query"))?;
    let name = name::check(name)?;
    let content_type = content_type(&headers)?;
    let expected = repr_digest::expected(&headers)?;
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(unsupported("content is stored as it is sent: no Content-Encoding"));
    }
    let chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !headers.get_all(TRANSFER_ENCODING).iter().all(chunked) {
        let title = "The transfer coding is not known";
        let detail = "Transfer-Encoding: chunked, or none";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "transfer-coding", title, detail));
    }
    let limits = app.upload_limits;
    if body.size_hint().lower() > limits.max_size {
        return Err(Problem::too_large(limits.max_size));
    }
    let permit = app.uploads.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Problem::busy("too many uploads are in flight"))?;

    let received = receive(&app.store, body, limits, permit).await?;

    let sha256 = received.sha256;
    if expected.is_some_and(|expected| expected != sha256) {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "digest-mismatch",
            "The content has another digest",
            "Repr-Digest does not match what was received; nothing was kept",
        ));
    }
    let size = i64::try_from(received.size).map_err(|_| Problem::too_large(limits.max_size))?;
    let file = NewFile { id: Uuid::now_v7(), name, content_type, size, sha256 };
    let record = publish::publish(&app, received.file, file).await?;
    let location = format!("/v1/files/{}", record.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(Record::from(record))))
}

fn content_type(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok("application/octet-stream".to_owned());
    };
    let value = value.to_str().map_err(|_| Problem::invalid("Content-Type: ASCII only"))?;
    if value.is_empty() || value.len() > MAX_CONTENT_TYPE {
        return Err(Problem::invalid(format!("Content-Type: 1 to {MAX_CONTENT_TYPE} bytes")));
    }
    Ok(value.to_owned())
}

fn unsupported(detail: &'static str) -> Problem {
    let title = "The content can't be taken in this form";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", title, detail)
}
