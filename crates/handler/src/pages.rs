//! All pages, one after the other: one is being read while the connection has another.
//!
//! **What goes wrong**: rows that are streamed straight from the database hold a pooled
//! connection for as long as the client takes to read them; a few slow clients have
//! them all. A query for each page costs as much as half of its rows.
//!
//! **The pattern**: a task reads pages ahead, into as many as there are places. One
//! query fills several, as long as the client takes each at once; else its connection
//! goes back to the pool, and the next query begins after the last row that was sent.
//!
//! **Cancellation**: dropped, the task is aborted. The connection reads what is left of
//! its query when it goes back to the pool.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::TryStreamExt;
use storage::pool::answered;
use storage::{Error, PgPool, PoolConnection, Postgres, files};
use streaming::paid;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;
use tokio::time::timeout;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::Instrument;
use uuid::Uuid;

use crate::page::{self, Form};
use crate::permits::Permits;

/// A page's buffer, in bytes: some 70 records with names of usual length. Two of them,
/// with what reads them, are no more than a list's one.
pub const PAGE: usize = 16 * 1024;

/// Rows asked of the database at once, usually: as many as fill a page.
const FEW: u16 = 64;

/// Rows asked of the database at once for a client that has taken the pages before, in
/// one export at a time ([`ahead`]). Then the connection goes back, and who waits for one
/// has it: in 5 ms, or in 0.6 s where the client takes each page just in time. Held by
/// `tests/http`: export.
const MANY: u16 = 1792;

/// The longest row as Postgres sends it, in bytes: a name and a type of 255, and what is
/// of one length.
const WIRE_ROW: usize = 2 * 255 + 160;

/// Pages that an export holds at the most: what [`cost`] counts. A third is not
/// read before the client has taken the first. Held by the memory test `export`.
pub const PLACES: usize = 2;

/// How long a connection waits for a client that is to take a page. Who reads faster
/// than a page in this time (1.6 MB/s) is as good as there; who does not, is not waited
/// for. Held by `tests/http`: export.
const KEPT: Duration = Duration::from_millis(10);

/// The heap that one list or export in flight may hold, in bytes. Held by the memory test
/// `export`.
#[must_use]
pub const fn cost() -> usize {
    page::cost(PLACES, PAGE)
}

/// Who may ask for many rows at once: one. What it has asked for stays in the kernel when
/// its client stalls, until the connection is given back: [`ahead_cost`].
#[must_use]
pub fn ahead() -> Arc<Permits> {
    Arc::new(Permits::new(1))
}

/// The bytes that the kernel may hold for who reads ahead, for 10 ms and as long as it
/// takes to read them.
#[must_use]
pub const fn ahead_cost() -> usize {
    MANY as usize * WIRE_ROW
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
        ahead: &Arc<Permits>,
        form: impl Form + Copy + Send + Sync + 'static,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, Error> {
        let places = Arc::new(Semaphore::new(PLACES));
        let paying = Paying { permit: Arc::new(permit), places };
        let place = paying.place().await?;
        let page = page::read(pool, None, FEW, PAGE, form.head(), &form).await?;
        let rest = page.next.map(|next| {
            let (sender, pages) = channel(PLACES);
            let (pool, ahead) = (pool.clone(), ahead.clone());
            let reading = read_all(pool, ahead, next, form, paying.clone(), sender);
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
    ahead: Arc<Permits>,
    after: Uuid,
    form: impl Form,
    paying: Paying,
    pages: Sender<Bytes>,
) -> Result<(), Error> {
    let mut turn = Turn { after, is_prompt: false };
    loop {
        let place = paying.place().await?;
        let connection = pool.acquire().await?;
        let alone = turn.is_prompt.then(|| ahead.clone().try_acquire_owned().ok()).flatten();
        let rows = if alone.is_some() { MANY } else { FEW };
        // Boxed: the query in it is 15 KB, which a client that stalls need not cost.
        let read = Box::pin(turn.take(connection, rows, &form, &paying, place, &pages));
        match answered(read).await? {
            Some(next) => turn = next,
            None => return Ok(()),
        }
    }
}

/// What is read with one query.
struct Turn {
    after: Uuid,
    // The client has taken all before.
    is_prompt: bool,
}

impl Turn {
    /// Reads pages; returns what to read next, if there may be more.
    async fn take(
        &self,
        mut connection: PoolConnection<Postgres>,
        limit: u16,
        form: &impl Form,
        paying: &Paying,
        mut place: OwnedSemaphorePermit,
        pages: &Sender<Bytes>,
    ) -> Result<Option<Self>, Error> {
        let (mut after, mut count, mut page) = (self.after, 0, page::buffer(PAGE));
        let mut rows = pin!(files::page(&mut *connection, Some(after), limit));
        while let Some(record) = rows.try_next().await? {
            let first = page.is_empty();
            form.row(&record, &mut page, first);
            (after, count) = (record.id, count + 1);
            if page.len() >= PAGE {
                let full = std::mem::take(&mut page);
                // Nobody is there any more: the task is about to be aborted.
                let Ok(()) = pages.send(paying.paid(full, place)).await else { return Ok(None) };
                let Ok(free) = timeout(KEPT, paying.place()).await else {
                    return Ok(Some(Self { after, is_prompt: false }));
                };
                (place, page) = (free?, page::buffer(PAGE));
            }
        }
        if !page.is_empty() && pages.send(paying.paid(page, place)).await.is_err() {
            return Ok(None);
        }
        Ok((count == limit).then_some(Self { after, is_prompt: true }))
    }
}
