//! Multipart forms (RFC 7578), as a browser sends them: part by part, each
//! streamed into a staged file.
//!
//! **What goes wrong**: `field.bytes()` holds a part whole. And multer itself
//! takes in whatever its stream has ready (1.5 MiB over TCP, measured), and looks
//! for the end of a part's head for as long as it does not come.
//!
//! And at each turn it takes in one frame more, whether or not it has use for it:
//! in a form of 16 small files, 2.5 MiB (measured).
//!
//! **The pattern**: multer gets a frame only when it can't go on with what it has
//! (`demand`), so that it holds no more than a frame and what was left of the last;
//! while it looks for a part's head, only so many bytes. Parts become files all
//! together, or not at all.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::{StreamExt, TryStreamExt};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;
use multer::{Constraints, Field, Multipart};
use streaming::upload::receive;
use streaming::{LocalStore, Received, UploadError, UploadLimits};
use tokio::sync::OwnedSemaphorePermit;

use crate::{Problem, content_type, name, repr_digest};

mod demand;

use demand::{Demand, Demanding, Frames, HeadTooLarge};

/// Files of one form at most; one more is 422. Each keeps a path until all are
/// there.
pub const MAX_FILES: usize = 16;

/// What may come between two contents, in bytes: a boundary, and the head of a
/// part. More is 413.
const MAX_HEAD: usize = 8 * 1024;

/// What a part that is no file may hold, in bytes: it is passed over.
const MAX_OTHER: usize = 16 * 1024;

/// The longest boundary, in bytes (RFC 2046, section 5.1.1): it is copied, and
/// looked for in every frame.
const MAX_BOUNDARY: usize = 70;

/// Parts of a form at most that are no files; one more is 422. Without a limit a
/// form of small ones would never end.
const MAX_OTHERS: usize = 64;

/// What a form may have beside the content of its files, in bytes, at the most: heads,
/// parts that are no files, what stands before them. What is announced and is more than
/// this and [`UploadLimits::max_size`] is 413 before it comes. Held by `tests/http`:
/// multipart.
pub const MAX_FRAMING: u64 =
    (MAX_HEAD * (MAX_FILES + MAX_OTHERS + 1) + MAX_OTHER * MAX_OTHERS) as u64;

/// The heap that multer may hold of a form, in bytes, for frames of `frame`
/// bytes: a frame, twice while it is joined to what was left of the last, and a
/// head. Measured, without large heads: 13, 31 to 61, and 37 KiB for frames of 16,
/// 32 and 64. Held by the memory test `multipart`.
#[must_use]
pub const fn cost(frame: usize) -> usize {
    2 * frame + MAX_HEAD
}

/// A file of a form: received, but not published.
#[derive(Debug)]
pub struct Part {
    /// Its name, checked.
    pub name: String,
    /// Its type, checked.
    pub content_type: String,
    /// Its content.
    pub received: Received<Arc<OwnedSemaphorePermit>>,
}

/// The boundary, where a body is a multipart form.
///
/// # Errors
/// 400 where it is one, and its boundary can't be read.
pub fn boundary(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let prefix = "multipart/form-data";
    let is_form = |value: &&str| {
        value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let Some(value) = value.filter(is_form) else { return Ok(None) };
    let boundary = multer::parse_boundary(value).ok();
    let boundary = boundary.filter(|boundary| (1..=MAX_BOUNDARY).contains(&boundary.len()));
    let missing = || Problem::bad_request("Content-Type: no boundary of 1 to 70 bytes");
    boundary.map(Some).ok_or_else(missing)
}

/// Receives all files of a form into `store`, all together within `limits`. Parts that
/// are no files are passed over.
///
/// **Cancellation**: dropping the future removes what was received.
///
/// # Errors
/// 400 (no form), 408, 413 (all together, or a part's head), 422 (names, types,
/// digests, too many files or none), 500, 507.
pub async fn receive_all(
    store: &LocalStore,
    limits: UploadLimits,
    body: Body,
    boundary: String,
    permit: Arc<OwnedSemaphorePermit>,
) -> Result<Vec<Part>, Problem> {
    let demand = Demand::default();
    let frames = Frames { body, demand: demand.clone() };
    let mut form = Multipart::with_constraints(frames, boundary, Constraints::new());
    let (mut parts, mut others, mut left) = (Vec::new(), MAX_OTHERS, limits.max_size);
    loop {
        demand.set_left(MAX_HEAD);
        let next = poll_fn(|cx| demand.poll(cx, |cx| form.poll_next_field(cx)));
        let next = tokio::time::timeout(limits.stall, next).await;
        let next = next.map_err(|_| Problem::timed_out("the form stopped coming"))?;
        let Some(field) = next.map_err(problem)? else { break };
        demand.set_left(usize::MAX);
        if field.file_name().is_none() && has_file_name(field.headers()) {
            // It would be passed over, and its file lost without a word.
            return Err(Problem::invalid("a part's filename: UTF-8, in quotes"));
        }
        if field.file_name().is_none_or(str::is_empty) {
            others = others.checked_sub(1).ok_or_else(|| {
                Problem::invalid(format!("a form has {MAX_OTHERS} other parts at most"))
            })?;
            pass_over(Demanding { field, demand: demand.clone() }, limits.stall).await?;
            continue;
        }
        if parts.len() == MAX_FILES {
            return Err(Problem::invalid(format!("a form has {MAX_FILES} files at most")));
        }
        let demand = demand.clone();
        let part = receive_part(store, field, demand, &limits, left, permit.clone()).await?;
        left -= part.received.size;
        parts.push(part);
    }
    if parts.is_empty() {
        return Err(Problem::invalid("the form has no file: a part with a filename"));
    }
    Ok(parts)
}

/// Receives a part, of which `left` bytes may come of what `limits` allow all together.
async fn receive_part(
    store: &LocalStore,
    field: Field<'static>,
    demand: Demand,
    limits: &UploadLimits,
    left: u64,
    permit: Arc<OwnedSemaphorePermit>,
) -> Result<Part, Problem> {
    let name = name::check(field.file_name().unwrap_or_default().to_owned())?;
    let content_type = content_type::check(field.headers())?;
    let expected = repr_digest::expected(field.headers())?;
    let content = StreamBody::new(Demanding { field, demand }.map_ok(Frame::data));
    let of_part = UploadLimits { max_size: left, ..limits.clone() };
    let received = receive(store, content, of_part, permit).await;
    let received = received.map_err(|error| match error {
        UploadError::Body(error) => match error.downcast::<multer::Error>() {
            Ok(error) => problem(*error),
            Err(error) => UploadError::Body(error).into(),
        },
        // Of all files together; what the others have left of it says nothing.
        UploadError::TooLarge { .. } => Problem::too_large(limits.max_size),
        error => error.into(),
    })?;
    repr_digest::compare(expected, received.sha256)?;
    Ok(Part { name, content_type, received })
}

/// Whether a part says that it is a file, be it in a way that can't be read.
fn has_file_name(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_DISPOSITION).map(HeaderValue::as_bytes).unwrap_or_default();
    let mut parameters = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii_start);
    parameters.any(|parameter| {
        parameter.get(..8).is_some_and(|name| name.eq_ignore_ascii_case(b"filename"))
    })
}

async fn pass_over(mut field: Demanding, stall: Duration) -> Result<(), Problem> {
    let passing = async {
        let mut passed = 0;
        while let Some(bytes) = field.next().await {
            passed += bytes.map_err(problem)?.len();
            if passed > MAX_OTHER {
                return Err(Problem::too_large(MAX_OTHER as u64));
            }
        }
        Ok(())
    };
    let passed = tokio::time::timeout(stall, passing).await;
    passed.map_err(|_| Problem::timed_out("the form stopped coming"))?
}

/// A form that can't be read. What the body itself says of its end is not told.
fn problem(error: multer::Error) -> Problem {
    match error {
        multer::Error::StreamReadFailed(error) if error.is::<HeadTooLarge>() => {
            Problem::too_large(MAX_HEAD as u64)
        }
        multer::Error::StreamReadFailed(error) => {
            tracing::debug!(%error, "a body ended early");
            Problem::bad_request("the body ended early, or broke the protocol")
        }
        error => Problem::bad_request(format!("the form: {error}")),
    }
}
