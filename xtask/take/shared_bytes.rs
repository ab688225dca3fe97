//! Shared bytes: a content type that is kept of a request's head pins no more than
//! itself.
//!
//! **The twin**: the `HeaderValue`, kept as it came.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, ensure};
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use meter::{Report, Sample};
use pattern::content_type;

use super::Case;
use crate::rig::http1::serving;
use crate::rig::measure::REPETITIONS;
use crate::rig::{self, Service};

pub const CASE: Case = Case {
    name: "shared_bytes",
    about: "what is kept of a head pins no more than itself",
    pattern: || rig::run(measured(copied, |kept| kept == TYPE)),
    twin: || rig::run(measured(as_it_came, |kept| kept == TYPE)),
};

/// So many are kept at once, each from a buffer of its own.
const KEPT: usize = 1_000;

/// The content type that each request brings: 24 bytes.
const TYPE: &str = "application/octet-stream";

fn copied(headers: &HeaderMap) -> Result<String, &'static str> {
    content_type::check(headers).map_err(|_| "not a type")
}

fn as_it_came(headers: &HeaderMap) -> Result<HeaderValue, &'static str> {
    headers.get(CONTENT_TYPE).cloned().ok_or("no type")
}

/// What a handler has kept.
type Kept<T> = Arc<Mutex<Vec<T>>>;

fn lock<T>(kept: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `field`: what each of many content types holds, in bytes.
async fn measured<T: Send + 'static>(
    keep: fn(&HeaderMap) -> Result<T, &'static str>,
    is_right: fn(&T) -> bool,
) -> Result<Report> {
    let kept: Kept<T> = Arc::default();
    let handler = move |State(kept): State<Kept<T>>, headers: HeaderMap| async move {
        lock(&kept).push(keep(&headers)?);
        Ok::<_, &str>(StatusCode::NO_CONTENT)
    };
    let service = serving(Router::new().route("/", get(handler)).with_state(kept.clone()));
    let mut field = Vec::new();
    for repetition in 0..1 + REPETITIONS {
        *lock(&kept) = Vec::with_capacity(KEPT);
        let before = service.rest().await?;
        for _ in 0..KEPT {
            request(&service).await?;
        }
        let live = service.rest().await?;
        ensure!(lock(&kept).len() == KEPT, "not every field was kept");
        ensure!(lock(&kept).iter().all(is_right), "another field is kept");
        if repetition > 0 {
            field.push((live as f64 - before as f64) / KEPT as f64);
        }
    }
    Ok(Report { samples: vec![Sample::new("field", field)] })
}

/// A client that asks once, and leaves.
async fn request(service: &Service) -> Result<()> {
    let mut client = service.call().begin();
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\ncontent-type: {TYPE}\r\n\r\n");
    client.send(head.as_bytes()).await?;
    client.any_head("204").await?;
    Ok(())
}
