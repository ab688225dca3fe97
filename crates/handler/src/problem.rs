//! Problem documents (RFC 9457): every error that a client sees, in one place.
//!
//! A handler returns a [`Problem`]; [`render`], in the middleware, turns it
//! into a document with the request's id. An error without one (no such route,
//! a method not allowed) gets the document of its status. No document holds
//! SQL, a path or a backtrace: those are in the log, under the request's id.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::request_id::REQUEST_ID;

/// What a client is told to wait when a bound is reached, in seconds. The
/// shortest that is worth saying: most of what is bounded is over in a second.
const RETRY_SECONDS: u64 = 1;

/// An error, as a client sees it.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl Problem {
    /// A problem of the type `urn:problem-type:<kind>`.
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, kind, title, detail: detail.into() }
    }

    /// 400: the request, or a field of its head, can't be read.
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request can't be read", detail)
    }

    /// 404: no such file.
    #[must_use]
    pub fn no_such_file() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-such-file", "There is no such file", "")
    }

    /// 408: the client took too long.
    pub fn timed_out(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "stalled", "The body stopped coming", detail)
    }

    /// 412.
    #[must_use]
    pub fn precondition_failed() -> Self {
        let title = "A precondition does not hold";
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition-failed", title, "")
    }

    /// 413: the content is larger than `max_size` bytes.
    #[must_use]
    pub fn too_large(max_size: u64) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "The content is too large",
            format!("at most {max_size} bytes"),
        )
    }

    /// 422: the request can be read, but not followed.
    pub fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "A value is not allowed", detail)
    }

    /// 503: a bound of the service is reached.
    pub fn busy(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "The service is at its limit", detail)
    }

    /// 503: something that the service stands on is out of reach.
    #[must_use]
    pub fn unavailable() -> Self {
        let title = "The service can't answer now";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", title, "")
    }

    /// 500: the cause is in the log.
    #[must_use]
    pub fn internal() -> Self {
        let title = "The service failed";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", title, "")
    }

    fn of_status(status: StatusCode) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self::new(status, "http", title, "")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives an error response its document. The other headers stay: Allow,
/// Content-Range, WWW-Authenticate.
pub fn render(mut response: Response) -> Response {
    let status = response.status();
    if status == StatusCode::NOT_MODIFIED {
        // axum says 0, the length of nothing; the field would mean that of a 200.
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let problem = response.extensions_mut().remove::<Problem>();
    let problem = problem.unwrap_or_else(|| Problem::of_status(status));
    let request_id = response.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let document = Document {
        r#type: format!("urn:problem-type:{}", problem.kind),
        title: problem.title,
        status: status.as_u16(),
        detail: &problem.detail,
        request_id,
    };
    let body = serde_json::to_vec(&document).unwrap_or_default();
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        headers.entry(RETRY_AFTER).or_insert(RETRY_SECONDS.into());
    }
    if status == StatusCode::REQUEST_TIMEOUT {
        // RFC 9110, section 15.5.9: what is still to come can't be told from a request.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    *response.body_mut() = Body::from(body);
    response
}
