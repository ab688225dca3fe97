//! `GET /v1/files/export`: every record, as NDJSON, or CSV by Accept.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame};
use storage::FileRecord;

use crate::page::Form;
use crate::pages::{Broken, Pages};
use crate::record::Record;
use crate::{App, Problem, accept, csv};

const NDJSON: &str = "application/x-ndjson";
const CSV: &str = "text/csv; charset=utf-8; header=present";

#[derive(Clone, Copy, Debug)]
enum ExportForm {
    Ndjson,
    Csv,
}

impl Form for ExportForm {
    fn head(&self) -> &'static [u8] {
        match self {
            Self::Ndjson => b"",
            Self::Csv => csv::HEAD,
        }
    }

    fn row(&self, record: &FileRecord, page: &mut Vec<u8>, _: bool) {
        match self {
            Self::Ndjson => {
                Record::from(record).write(page);
                page.push(b'\n');
            }
            Self::Csv => csv::row(record, page),
        }
    }
}

/// All records that there are when it begins, newest first, but for those that
/// are deleted before their page is read. Chunked: how many they will be is not
/// known. Where the database is lost on the way, the response breaks off.
///
/// No pooled connection is held while the client reads ([`Pages`]).
///
/// # Errors
/// 406, 503 (lists and exports in flight, memory, database).
pub async fn get(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    let content_type = accept::negotiate(&headers, &[NDJSON, CSV])?;
    let form = if content_type == NDJSON { ExportForm::Ndjson } else { ExportForm::Csv };
    app.overload.admits_growth()?;
    let permit = app.pages.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Problem::busy("too many lists and exports are in flight"))?;
    // The first page is read before the answer: a database out of reach is a 503,
    // not a response that breaks off.
    let pages = Pages::begin(&app.pool, &app.tasks, &app.ahead, form, permit).await?;
    let name = match form {
        ExportForm::Ndjson => "attachment; filename=\"files.ndjson\"",
        ExportForm::Csv => "attachment; filename=\"files.csv\"",
    };
    let mut response = Body::new(Export(pages)).into_response();
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(CONTENT_DISPOSITION, HeaderValue::from_static(name));
    fields.insert(VARY, ACCEPT.into());
    Ok(response)
}

/// The pages as a body.
struct Export(Pages);

impl HttpBody for Export {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let page = ready!(self.0.poll_next(cx));
        Poll::Ready(page.map(|page| {
            page.map(Frame::data).inspect_err(|error| {
                tracing::warn!(%error, "an export broke off");
            })
        }))
    }
}
