//! What a form's reader takes in: a frame when it can't go on without.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use futures_util::Stream;
use http_body::Body as _;
use multer::Field;

use super::MAX_HEAD;

/// More between two contents than [`MAX_HEAD`].
#[derive(Debug, thiserror::Error)]
#[error("more than {MAX_HEAD} bytes in the head of a part")]
pub struct HeadTooLarge;

/// What multer may take in: a frame when it can't go on without, and before a part
/// only so many bytes. Shared by what it reads from and by whoever polls it.
#[derive(Clone, Debug, Default)]
pub struct Demand(Arc<State>);

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
    pub fn set_left(&self, bytes: usize) {
        self.0.left.store(bytes, Ordering::Relaxed);
    }

    /// Polls what reads the form; hands a frame over each time that it is stuck
    /// for want of one, and in no other case.
    pub fn poll<T>(
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
pub struct Demanding {
    pub field: Field<'static>,
    pub demand: Demand,
}

impl Stream for Demanding {
    type Item = multer::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { field, demand } = &mut *self;
        demand.poll(cx, |cx| Pin::new(&mut *field).poll_next(cx))
    }
}

/// A body's data, for multer.
pub struct Frames {
    pub body: Body,
    pub demand: Demand,
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
