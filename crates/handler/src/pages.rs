//! All pages, one after the other: one is being read while the connection has another.
//!
//! **What goes wrong**: rows that are streamed straight from the database hold a pooled
//! connection for as long as the client takes to read them; a few slow clients have
//! them all. A connection that is taken afresh for each page is asked twice whether it
//! is well before the next: with small pages, that is a third of the work.
//!
//! **The pattern**: a task reads pages ahead, into as many as there are places. It
//! keeps its connection from page to page while the client takes them at once, and for
//! so many pages at most, so that others have their turn; else it gives it back.
//!
//! **Cancellation**: dropped, the task is aborted. The connection reads what is left of
//! its page when it goes back to the pool.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use storage::{Error, PgPool};
use streaming::paid;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;
use tokio::time::timeout;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::Instrument;
use uuid::Uuid;

use crate::page::{self, Form};

/// A page's buffer, in bytes. Smaller ones are more queries: at 16 KiB an export takes a
/// fifth longer.
pub const PAGE: usize = 24 * 1024;

/// Rows asked of the database at once: as many as usually fill a page.
const ROWS: u16 = 96;

/// Pages that an export holds at the most: what [`cost`] counts. A third is not
/// read before the client has taken the first. Held by the memory test `export`.
pub const PLACES: usize = 2;

/// How long a connection is kept for a client that is to take a page. Who reads faster
/// than a page in this time (3 MB/s) is as good as there; who does not, is not waited
/// for. Held by `tests/http`: export.
const KEPT: Duration = Duration::from_millis(10);

/// After so many pages the connection goes back, and who waits for one has it: some
/// 2,000 rows, in 10 ms. Held by `tests/http`: export.
const TURN: usize = 16;

/// The heap that one list or export in flight may hold, in bytes. Held by the memory test
/// `export`.
#[must_use]
pub const fn cost() -> usize {
    page::cost(PLACES, PAGE)
}

/// What is held for an export, each in every page: a place rides in its page's bytes.
#[derive(Clone)]
struct Paying {
    permit: Arc<OwnedSemaphorePermit>,
    places: Arc<Semaphore>,
}

/// Why they broke off.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// It was lost on the way.
    #[error("the database: {0}")]
    Database(#[from] Error),
    /// It panicked, or the runtime ends.
    #[error("the queries' task: {0}")]
    Task(#[from] JoinError),
}

/// The pages of an export.
pub struct Pages {
    first: Option<Bytes>,
    // None where the first is all, and at the end.
    rest: Option<Rest>,
}

/// Pages as they come, and how that ended.
struct Rest {
    pages: Receiver<Bytes>,
    reading: AbortOnDropHandle<Result<(), Error>>,
}

impl Pages {
    /// Reads the first page: a database out of reach is told before anything is sent. The
    /// rest is read in a task of `tasks`. `permit` is held until the last page is gone.
    ///
    /// # Errors
    /// A database out of reach.
    pub async fn begin(
        pool: &PgPool,
        tasks: &TaskTracker,
        form: impl Form + Copy + Send + Sync + 'static,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, Error> {
        let places = Arc::new(Semaphore::new(PLACES));
        let paying = Paying { permit: Arc::new(permit), places };
        let place = paying.place().await?;
        let page = page::read(pool, None, ROWS, PAGE, form.head(), &form).await?;
        let rest = page.next.map(|next| {
            let (sender, pages) = channel(PLACES);
            let reading = read_all(pool.clone(), next, form, paying.clone(), sender);
            // A task of its own: whoever polls the body may stop in the middle of a
            // query (an encoder that has something to send does), and the query would
            // hold its connection for as long as the client stalls.
            let reading = tasks.spawn(reading.in_current_span());
            Rest { pages, reading: AbortOnDropHandle::new(reading) }
        });
        Ok(Self { first: Some(paying.paid(page.bytes, place)), rest })
    }

    /// The next page; None after the last.
    ///
    /// # Errors
    /// Where the database is lost on the way.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        if let Some(page) = ready!(rest.pages.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(page)));
        }
        let ended = ready!(Pin::new(&mut rest.reading).poll(cx));
        self.rest = None;
        Poll::Ready(match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Err(error.into())),
            Err(error) => Some(Err(error.into())),
        })
    }
}

impl Paying {
    /// One of [`PLACES`], when one is free.
    ///
    /// # Errors
    /// None: they are never closed.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.places.clone().acquire_owned().await.map_err(|_| Error::WorkerCrashed)
    }

    fn paid(&self, page: Vec<u8>, place: OwnedSemaphorePermit) -> Bytes {
        paid(page, Arc::new((place, self.permit.clone())))
    }
}

/// Reads all pages after `after`.
async fn read_all(
    pool: PgPool,
    after: Uuid,
    form: impl Form,
    paying: Paying,
    pages: Sender<Bytes>,
) -> Result<(), Error> {
    let mut after = Some(after);
    while let Some(from) = after {
        let place = paying.place().await?;
        // Boxed: the query in it is 15 KB, which a client that stalls need not cost.
        after = Box::pin(take_turn(&pool, from, &form, &paying, place, &pages)).await?;
    }
    Ok(())
}

/// Reads pages with one connection; returns after what to go on, if there is more.
async fn take_turn(
    pool: &PgPool,
    mut after: Uuid,
    form: &impl Form,
    paying: &Paying,
    mut place: OwnedSemaphorePermit,
    pages: &Sender<Bytes>,
) -> Result<Option<Uuid>, Error> {
    let mut connection = pool.acquire().await?;
    for _ in 0..TURN {
        let page = page::read(&mut *connection, Some(after), ROWS, PAGE, b"", form).await?;
        let next = page.next;
        let bytes = paying.paid(page.bytes, place);
        // Nobody is there: the task is about to be aborted.
        let Ok(()) = pages.send(bytes).await else { return Ok(None) };
        let Some(next) = next else { return Ok(None) };
        after = next;
        let Ok(free) = timeout(KEPT, paying.place()).await else { break };
        place = free?;
    }
    Ok(Some(after))
}
