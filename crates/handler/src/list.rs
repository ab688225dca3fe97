//! `GET /v1/files?limit&after`: the records, a page at a time, newest first.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{CONTENT_TYPE, LINK};
use serde::Deserialize;
use storage::FileRecord;
use streaming::paid;
use uuid::Uuid;

use crate::page::{self, Form};
use crate::record::Record;
use crate::{App, Problem};

/// Records on a page, unless the client asks for fewer.
const DEFAULT_LIMIT: u16 = 20;

/// Records on a page at most; more is 422, rather than fewer than were asked for.
const MAX_LIMIT: u16 = 100;

/// A page's buffer, in bytes: [`MAX_LIMIT`] records with names of usual length. It is
/// one: less than what a permit pays for ([`crate::pages::cost`]). Held by the memory
/// test `list`.
const PAGE: usize = 32 * 1024;
const _: () = assert!(page::cost(1, PAGE) <= crate::pages::cost());

/// The query of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    // Wider than any limit: one that is too large is told so, by 422.
    limit: Option<u64>,
    after: Option<Uuid>,
}

struct Json;

impl Form for Json {
    fn row(&self, record: &FileRecord, page: &mut Vec<u8>, first: bool) {
        if !first {
            page.push(b',');
        }
        Record::from(record).write(page);
    }
}

/// A page. `next` in it, and the Link header (RFC 8288), lead to the one after
/// it; on the last page there is neither. A page may be shorter than its limit
/// where names are long: only a missing `next` means the end.
///
/// A record that is there all the while is on exactly one page of a walk; one
/// that comes or goes meanwhile is on one or none.
///
/// # Errors
/// 400 (a query that can't be read), 422 (limit), 500, 503.
pub async fn get(
    State(app): State<Arc<App>>,
    params: Result<Query<Params>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(Params { limit, after }) = params
        .map_err(|_| Problem::bad_request("the query: limit (a number) and after (an id)"))?;
    let limit = limit.map_or(Ok(DEFAULT_LIMIT), u16::try_from).ok();
    let Some(limit) = limit.filter(|limit| (1..=MAX_LIMIT).contains(limit)) else {
        return Err(Problem::invalid(format!("limit: 1 to {MAX_LIMIT}")));
    };
    let permit = app.pages.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Problem::busy("too many lists and exports are in flight"))?;
    let mut page = page::read(&app.pool, after, limit, PAGE, b"{\"files\":[", &Json).await?;
    page.bytes.push(b']');
    let link = page.next.map(|next| {
        page.bytes.extend_from_slice(format!(",\"next\":\"{next}\"").as_bytes());
        HeaderValue::try_from(format!("</v1/files?limit={limit}&after={next}>; rel=\"next\""))
    });
    page.bytes.push(b'}');

    let body = Body::from(paid(page.bytes, Arc::new(permit)));
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(link) = link.transpose().map_err(|_| Problem::internal())? {
        headers.insert(LINK, link);
    }
    Ok(response)
}
