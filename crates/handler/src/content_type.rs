//! Content types of content: kept as they are sent, within bounds.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::Problem;

/// The longest, in bytes: the table's limit.
pub const MAX_CONTENT_TYPE: usize = 255;

/// The content type that a request, or a part of a form, says its content has.
///
/// # Errors
/// 422 where it is empty, too long or not ASCII.
pub fn check(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok("application/octet-stream".to_owned());
    };
    let value = value.to_str().map_err(|_| Problem::invalid("Content-Type: ASCII only"))?;
    if value.is_empty() || value.len() > MAX_CONTENT_TYPE {
        return Err(Problem::invalid(format!("Content-Type: 1 to {MAX_CONTENT_TYPE} bytes")));
    }
    Ok(value.to_owned())
}
