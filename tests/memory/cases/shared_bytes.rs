//! Shared bytes: what is kept of a large buffer pins no more than itself.
//!
//! **What goes wrong**: a `HeaderValue` is a slice of the buffer that hyper read
//! the head into, a row a slice of the buffer that sqlx read it from. To keep 24
//! bytes of either is to keep 8 KiB, and no length says so: `len()` is 24.
//!
//! **The pattern**: what outlives its buffer is copied out of it.
//! `handler::content_type` returns a `String`, `storage::files` a record that owns
//! its texts.
//!
//! **The bound**: the bytes that are kept, and an allocation's end: a content type
//! in 24 bytes, a record in `storage::record::cost(name, content_type)`.
//!
//! **The twin**: what the types suggest, since a clone of either is cheap: the
//! field and the row are kept as they came.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use futures_util::TryStreamExt;
use handler::content_type;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use meter::{Report, Sample};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};
use storage::{FileRecord, files};
use uuid::Uuid;

use super::{Case, Tier};
use crate::rig::application::{HOST, Home};
use crate::rig::service::quiet;
use crate::rig::{self, Operation, Service, measure, rows};

pub const CASE: Case = Case {
    name: "shared_bytes",
    tier: Tier::A,
    about: "what is kept of a row or a head pins no more than itself",
    pattern: || rig::run(Home::with(async |home| pattern(home).await)),
    twin: || rig::run(Home::with(async |home| twin(home).await)),
};

/// So many are kept at once, each from a buffer of its own.
const KEPT: usize = 1_000;

/// Rows of each page, of which the first is kept, and the first row that is.
const PAGE: u16 = 100;
const FIRST: u64 = 100;

/// The content type that each request brings: 24 bytes.
const TYPE: &str = "application/octet-stream";

async fn pattern(home: &Home) -> Result<Report> {
    let rig = home.build(&["--pool-connections", "1"]).await?;
    let load = async |pool: &PgPool, after| {
        let mut page = std::pin::pin!(files::page(pool, Some(after), PAGE));
        let first = page.try_next().await?.context("no record")?;
        while page.try_next().await?.is_some() {}
        Ok(first)
    };
    let name = |record: &FileRecord| Ok(record.name().to_owned());
    let row = row(&rig.application.app.pool, load, name).await?;
    let keep = |headers: &HeaderMap| content_type::check(headers).map_err(|_| "not a type");
    let field = field(|routes| rig.twin(routes), keep, |kept: &String| kept == TYPE).await?;
    rig.end().await;
    Ok(Report { samples: vec![row, field] })
}

async fn twin(home: &Home) -> Result<Report> {
    let rig = home.build(&["--pool-connections", "1"]).await?;
    let load = async |pool: &PgPool, after: Uuid| {
        let query = "SELECT * FROM files WHERE id < $1 ORDER BY id DESC LIMIT $2";
        let mut page = sqlx::query(query).bind(after).bind(i64::from(PAGE)).fetch(pool);
        let first = page.try_next().await?.context("no record")?;
        while page.try_next().await?.is_some() {}
        Ok(first)
    };
    let row = row(&rig.application.app.pool, load, |row: &PgRow| Ok(row.try_get("name")?)).await?;
    let keep = |headers: &HeaderMap| headers.get(CONTENT_TYPE).cloned().ok_or("no type");
    let field = field(|routes| rig.twin(routes), keep, |kept: &HeaderValue| kept == TYPE).await?;
    rig.end().await;
    Ok(Report { samples: vec![row, field] })
}

/// `row`: what each of many records holds, of which each was the first of its page, in
/// bytes.
async fn row<T>(
    pool: &PgPool,
    load: impl AsyncFn(&PgPool, Uuid) -> Result<T>,
    name: impl Fn(&T) -> Result<String>,
) -> Result<Sample> {
    rows::grow(pool, FIRST + KEPT as u64).await?;
    let mut repetitions = Vec::new();
    for repetition in 0..1 + measure::REPETITIONS {
        let before = quiet().await?;
        let mut kept = Vec::with_capacity(KEPT);
        for number in FIRST..FIRST + KEPT as u64 {
            kept.push(load(pool, rows::id(number + 1)).await?);
        }
        let live = quiet().await?;
        for (number, kept) in (FIRST..).zip(&kept) {
            ensure!(name(kept)? == format!("record-{number:033}"), "another record is kept");
        }
        if repetition > 0 {
            repetitions.push((live as f64 - before as f64) / KEPT as f64);
        }
    }
    Ok(Sample::new("row", repetitions))
}

/// What a handler has kept.
type Kept<T> = Arc<Mutex<Vec<T>>>;

fn lock<T>(kept: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `field`: what each of many content types holds that were kept of a request's
/// head, in bytes.
async fn field<T: Send + 'static>(
    serve: impl FnOnce(Router) -> Service,
    keep: fn(&HeaderMap) -> Result<T, &'static str>,
    is_right: fn(&T) -> bool,
) -> Result<Sample> {
    let kept: Kept<T> = Arc::default();
    let handler = move |State(kept): State<Kept<T>>, headers: HeaderMap| async move {
        lock(&kept).push(keep(&headers)?);
        Ok::<_, &str>(StatusCode::NO_CONTENT)
    };
    let service = serve(Router::new().route("/", get(handler)).with_state(kept.clone()));
    let mut repetitions = Vec::new();
    for repetition in 0..1 + measure::REPETITIONS {
        *lock(&kept) = Vec::with_capacity(KEPT);
        let before = service.rest().await?;
        for _ in 0..KEPT {
            request(&service).await?;
        }
        let live = service.rest().await?;
        ensure!(lock(&kept).len() == KEPT, "not every field was kept");
        ensure!(lock(&kept).iter().all(is_right), "another field is kept");
        if repetition > 0 {
            repetitions.push((live as f64 - before as f64) / KEPT as f64);
        }
    }
    Ok(Sample::new("field", repetitions))
}

/// A client that asks once, and leaves.
fn request(service: &Service) -> Operation {
    let call = service.call();
    let head = format!("GET / HTTP/1.1\r\n{HOST}content-type: {TYPE}\r\n\r\n");
    Box::pin(async move {
        let mut client = call.begin();
        client.send(head.as_bytes()).await?;
        client.any_head("204").await?;
        Ok(())
    })
}
