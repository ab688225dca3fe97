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
//! (`Demand`), so that it holds no more than a frame and what was left of the last;
//! while it looks for a part's head, only so many bytes. Parts become files all
//! together, or not at all.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use futures_util::{Stream, StreamExt, TryStreamExt};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use http_body::{Body as _, Frame};
use http_body_util::StreamBody;
use multer::{Constraints, Field, Multipart};
use streaming::upload::receive;
use streaming::{Received, UploadLimits};
use tokio::sync::OwnedSemaphorePermit;

use crate::{App, Problem, content_type, name, repr_digest};

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

/// Receives all files of a form. Parts that are no files are passed over.
///
/// **Cancellation**: dropping the future removes what was received.
///
/// # Errors
/// 400 (no form), 408, 413 (all together, or a part's head), 422 (names, types,
/// digests, too many files or none), 500, 507.
pub async fn receive_all(
    app: &App,
    body: Body,
    boundary: String,
    permit: Arc<OwnedSemaphorePermit>,
) -> Result<Vec<Part>, Problem> {
    let demand = Demand::default();
    let frames = Frames { body, demand: demand.clone() };
    let mut form = Multipart::with_constraints(frames, boundary, Constraints::new());
    let mut limits = app.upload_limits;
    let (mut parts, mut others) = (Vec::new(), MAX_OTHERS);
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
            pass_over(Demanding { field, demand: demand.clone() }, limits).await?;
            continue;
        }
        if parts.len() == MAX_FILES {
            return Err(Problem::invalid(format!("a form has {MAX_FILES} files at most")));
        }
        let part = receive_part(app, field, demand.clone(), limits, permit.clone()).await?;
        limits.max_size -= part.received.size;
        parts.push(part);
    }
    if parts.is_empty() {
        return Err(Problem::invalid("the form has no file: a part with a filename"));
    }
    Ok(parts)
}

async fn receive_part(
    app: &App,
    field: Field<'static>,
    demand: Demand,
    limits: UploadLimits,
    permit: Arc<OwnedSemaphorePermit>,
) -> Result<Part, Problem> {
    let name = name::check(field.file_name().unwrap_or_default().to_owned())?;
    let content_type = content_type::check(field.headers())?;
    let expected = repr_digest::expected(field.headers())?;
    let content = StreamBody::new(Demanding { field, demand }.map_ok(Frame::data));
    let received = match receive(&app.store, content, limits, permit).await {
        Err(streaming::UploadError::Body(error)) => {
            return Err(match error.downcast::<multer::Error>() {
                Ok(error) => problem(*error),
                Err(error) => streaming::UploadError::Body(error).into(),
            });
        }
        other => other?,
    };
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

async fn pass_over(mut field: Demanding, limits: UploadLimits) -> Result<(), Problem> {
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
    let passed = tokio::time::timeout(limits.stall, passing).await;
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

/// More between two contents than [`MAX_HEAD`].
#[derive(Debug, thiserror::Error)]
#[error("more than {MAX_HEAD} bytes in the head of a part")]
struct HeadTooLarge;

/// What multer may take in: a frame when it can't go on without, and before a part
/// only so many bytes. Shared by what it reads from and by whoever polls it.
#[derive(Clone, Debug, Default)]
struct Demand(Arc<State>);

#[derive(Debug, Default)]
struct State {
    // The next frame may be handed over.
    wanted: AtomicBool,
    // It was asked for, and held back.
    held_back: AtomicBool,
    // Bytes that may still come before the next content begins.
    left: AtomicUsize,
}

impl Demand {
    fn set_left(&self, bytes: usize) {
        self.0.left.store(bytes, Ordering::Relaxed);
    }

    /// Polls what reads the form; hands a frame over each time that it is stuck
    /// for want of one, and in no other case.
    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        loop {
            self.0.held_back.store(false, Ordering::Relaxed);
            if let Poll::Ready(done) = poll(cx) {
                return Poll::Ready(done);
            }
            if !self.0.held_back.load(Ordering::Relaxed) {
                return Poll::Pending; // the body is
            }
            self.0.wanted.store(true, Ordering::Relaxed);
        }
    }
}

/// A part's content, read by [`Demand`].
struct Demanding {
    field: Field<'static>,
    demand: Demand,
}

impl Stream for Demanding {
    type Item = multer::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { field, demand } = &mut *self;
        demand.poll(cx, |cx| Pin::new(&mut *field).poll_next(cx))
    }
}

/// A body's data, for multer.
struct Frames {
    body: Body,
    demand: Demand,
}

impl Stream for Frames {
    type Item = Result<Bytes, axum::BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { body, demand } = &mut *self;
        let State { wanted, held_back, left } = &*demand.0;
        if !wanted.load(Ordering::Relaxed) {
            // `Demand::poll` comes again at once: nobody has to be woken.
            held_back.store(true, Ordering::Relaxed);
            return Poll::Pending;
        }
        loop {
            let Some(frame) = ready!(Pin::new(&mut *body).poll_frame(cx)) else {
                return Poll::Ready(None);
            };
            let Ok(data) = frame?.into_data() else { continue }; // trailers
            wanted.store(false, Ordering::Relaxed);
            // The frame in which the content begins may be larger than what is
            // left for the head: only more than that is too much.
            match left.load(Ordering::Relaxed) {
                0 => return Poll::Ready(Some(Err(HeadTooLarge.into()))),
                usize::MAX => {}
                bytes => left.store(bytes.saturating_sub(data.len()), Ordering::Relaxed),
            }
            return Poll::Ready(Some(Ok(data)));
        }
    }
}
