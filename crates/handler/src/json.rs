//! JSON bodies: small, typed, and in time.
//!
//! **What goes wrong**: a legal body of 2 MiB becomes 197 MiB as a
//! `serde_json::Value` (measured); 203 bytes of brotli become 516 MiB where the
//! limit stands outside of the decompression.
//!
//! **The pattern**: a limit on what comes out of the decompression (which wraps
//! the route, see [`crate::routes`]), then a type that keeps what it names and
//! nothing else.

use std::time::Duration;

use axum::body::Body;
use headers::{ContentType, HeaderMapExt};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use crate::Problem;

/// The largest body, in bytes, decompressed: a name of 255 bytes, each of them
/// escaped, fits twice. More is 413. Held by the memory test `body_limit`.
pub const MAX_JSON: usize = 4 * 1024;

/// The heap that a body may hold, in bytes, until it is a value: gzip's window and
/// its input and output, where a client uses it (50.8 KiB, measured), and what
/// came of it. Held by the memory test `body_limit`.
#[must_use]
pub const fn cost() -> usize {
    2 * MAX_JSON + 44 * 1024
}

/// Reads a body as JSON. It must be there within `patience`: whole, as it is no
/// larger than what an upload must bring in such a window.
///
/// # Errors
/// 400 (no JSON, or not of this shape), 408, 413, 415.
pub async fn read<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    patience: Duration,
) -> Result<T, Problem> {
    let essence = |of: ContentType| mime_essence(&of.to_string());
    let content_type = headers.contains_key(CONTENT_TYPE).then(|| headers.typed_get().map(essence));
    if !matches!(
        content_type.flatten().as_deref(),
        Some("application/json" | "application/merge-patch+json")
    ) {
        let title = "The content can't be taken in this form";
        let detail = "Content-Type: application/json, or application/merge-patch+json";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Problem::new(status, "unsupported", title, detail));
    }
    let bytes = tokio::time::timeout(patience, collect(body)).await;
    let bytes = bytes.map_err(|_| Problem::timed_out("the body did not come in time"))??;
    // serde takes an array for a struct too, its members by their place.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::bad_request("JSON: expected an object"));
    }
    serde_json::from_slice(&bytes).map_err(|error| Problem::bad_request(format!("JSON: {error}")))
}

/// Copies frames as they come. Kept until all are there, each would cost 32 bytes
/// and pin the connection's buffer that it lies in: 4,096 chunks of one byte were
/// 132 KiB, and their buffers.
async fn collect(mut body: Body) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|_| Problem::bad_request("the body ended early, or broke the protocol"))?;
        let Ok(data) = frame.into_data() else { continue }; // trailers
        if data.len() > MAX_JSON - bytes.len() {
            return Err(Problem::too_large(MAX_JSON as u64));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

fn mime_essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
