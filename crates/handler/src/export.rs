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
use storage::{Error, FileRecord, PgPool};
use streaming::paid;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;
use uuid::Uuid;

use crate::page::{self, Form, Page};
use crate::record::Record;
use crate::{App, Problem, accept, csv};

/// Rows asked of the database at once: as many as usually fill a page.
const ROWS: u16 = 128;

const NDJSON: &str = "application/x-ndjson";
const CSV: &str = "text/csv; charset=utf-8; header=present";

#[derive(Clone, Copy, Debug)]
enum ExportForm {
    Ndjson,
    Csv,
}

impl Form for ExportForm {
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
/// No pooled connection is held while the client reads.
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
    let first = read(&app.pool, None, form).await?;
    let name = match form {
        ExportForm::Ndjson => "attachment; filename=\"files.ndjson\"",
        ExportForm::Csv => "attachment; filename=\"files.csv\"",
    };
    let mut response =
        Body::new(Export { state: Progress::Read(first), app, form, guard: Arc::new(permit) })
            .into_response();
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(CONTENT_DISPOSITION, HeaderValue::from_static(name));
    fields.insert(VARY, ACCEPT.into());
    Ok(response)
}

async fn read(pool: &PgPool, after: Option<Uuid>, form: ExportForm) -> Result<Page, Error> {
    let head = match (form, after) {
        (ExportForm::Csv, None) => csv::HEAD,
        _ => &b""[..],
    };
    page::read(pool, after, ROWS, head, &form).await
}

enum Progress {
    Read(Page),
    Next(Uuid),
    Reading(AbortOnDropHandle<Result<Page, Error>>),
    Done,
}

/// Why an export broke off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the database: {0}")]
    Database(#[from] Error),
    #[error("the query's task: {0}")]
    Task(#[from] JoinError),
}

/// The pages as a body. The permit rides in each.
struct Export {
    state: Progress,
    app: Arc<App>,
    form: ExportForm,
    guard: Arc<OwnedSemaphorePermit>,
}

impl HttpBody for Export {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Progress::Next(next) = self.state {
            // Only now, when it is asked for: the connection still has a part of
            // the last page, and two are what a permit pays for.
            self.state = Progress::Reading(self.begin(next));
        }
        let page = match &mut self.state {
            Progress::Reading(reading) => {
                let read = ready!(Pin::new(reading).poll(cx)).map_err(Broken::from);
                Some(read.and_then(|page| page.map_err(Broken::from)))
            }
            _ => None,
        };
        let page = match (page, std::mem::replace(&mut self.state, Progress::Done)) {
            (Some(page), _) => page.inspect_err(|error| {
                tracing::warn!(%error, "an export broke off");
            })?,
            (None, Progress::Read(page)) => page,
            (None, _) => return Poll::Ready(None),
        };
        if let Some(next) = page.next {
            self.state = Progress::Next(next);
        }
        let bytes = paid(page.bytes, self.guard.clone());
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl Export {
    /// Reads the next page in a task of its own. Whoever polls the body may stop
    /// in the middle of a query (an encoder that has something to send does), and
    /// the query would hold its connection for as long as the client stalls.
    fn begin(&self, next: Uuid) -> AbortOnDropHandle<Result<Page, Error>> {
        let (app, form, guard) = (self.app.clone(), self.form, self.guard.clone());
        let reading = async move {
            let _guard = guard;
            read(&app.pool, Some(next), form).await
        };
        AbortOnDropHandle::new(self.app.tasks.spawn(reading.in_current_span()))
    }
}
