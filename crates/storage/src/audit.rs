//! The audit queue: events on their way to the database, which no request waits
//! for.
//!
//! **What goes wrong**: an unbounded channel takes events for as long as the
//! database does not: a stalled database becomes the service's memory. An insert
//! an event costs a round trip each.
//!
//! **The pattern**: a queue of a fixed length. One task takes what has gathered,
//! adds it up by COPY in one transaction, and tries again where the database is
//! out of reach. When the queue is full, events are dropped, and counted.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::{Error, PgPool};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Events added up in one transaction at most. More would gain nothing; less would
/// be round trips.
const BATCH: usize = 1024;

/// Events sent at once by COPY: the lines of a whole batch, and the copy of them
/// in the connection's buffer, were 190 KiB.
const PIECE: usize = 128;

/// A line of COPY, in bytes: an id, a tab, a time in microseconds, a line feed.
const LINE: usize = 36 + 1 + 29 + 1;

/// How long to wait before a batch is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The longest that one try may take: a database that has stopped answering
/// holds one pooled connection for as long.
const PATIENCE: Duration = Duration::from_secs(15);

/// The heap that a queue of `length` events may hold, in bytes: events with what
/// the channel adds to each, the batch that is being written, a piece of its COPY,
/// twice over, and the task. Held by the memory test `audit`.
#[must_use]
pub const fn cost(length: usize) -> usize {
    let queue = length * (size_of::<Event>() + 8);
    queue + BATCH * size_of::<Event>() + 2 * PIECE * LINE + 32 * 1024
}

/// A download that was begun.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Of which file.
    pub file_id: Uuid,
    /// When.
    pub at: OffsetDateTime,
}

/// The way into the queue. Clones share it.
#[derive(Clone, Debug)]
pub struct AuditQueue {
    sender: mpsc::Sender<Event>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    dropped: AtomicU64,
    written: AtomicU64,
}

/// The way out: [`AuditWriter::run`] it in a task.
#[derive(Debug)]
pub struct AuditWriter {
    receiver: mpsc::Receiver<Event>,
    counts: Arc<Counts>,
}

/// A queue of `length` events.
#[must_use]
pub fn queue(length: usize) -> (AuditQueue, AuditWriter) {
    let (sender, receiver) = mpsc::channel(length);
    let counts = Arc::new(Counts::default());
    (AuditQueue { sender, counts: counts.clone() }, AuditWriter { receiver, counts })
}

impl AuditQueue {
    /// Puts an event into the queue, or drops and counts it where there is no
    /// place. Never waits.
    pub fn record(&self, event: Event) {
        if self.sender.try_send(event).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events that were dropped: the queue was full, or the database lost its
    /// answer to a batch.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Events that are in the database.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.counts.written.load(Ordering::Relaxed)
    }

    /// Events that may still be put in.
    #[must_use]
    pub fn free(&self) -> usize {
        self.sender.capacity()
    }
}

/// What became of a batch.
enum Outcome {
    Written,
    /// Nothing of it is in the database.
    Failed(Error),
    /// The answer to the commit was lost: it is not written twice.
    Unknown(Error),
}

impl AuditWriter {
    /// Writes what comes, until `stop`; then what is still in the queue, each
    /// batch tried once.
    ///
    /// **Cancellation**: a batch that is being written may be in the database or
    /// not; what is in the queue is lost.
    pub async fn run(mut self, pool: PgPool, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let taken = tokio::select! {
                biased;
                () = stop.cancelled(), if !self.receiver.is_closed() => {
                    self.receiver.close();
                    continue;
                }
                taken = self.receiver.recv_many(&mut batch, BATCH) => taken,
            };
            if taken == 0 {
                return;
            }
            self.write(&pool, &batch, &stop).await;
            batch.clear();
        }
    }

    async fn write(&self, pool: &PgPool, batch: &[Event], stop: &CancellationToken) {
        let count = batch.len() as u64;
        loop {
            let error = match write(pool, batch).await {
                Outcome::Written => {
                    self.counts.written.fetch_add(count, Ordering::Relaxed);
                    return;
                }
                Outcome::Failed(error) if !stop.is_cancelled() => {
                    tracing::warn!(%error, count, "events are not written yet");
                    // What comes meanwhile waits in the queue, or is dropped.
                    tokio::select! {
                        () = tokio::time::sleep(RETRY) => {}
                        () = stop.cancelled() => {}
                    }
                    continue;
                }
                Outcome::Failed(error) | Outcome::Unknown(error) => error,
            };
            tracing::warn!(%error, count, "events are lost");
            self.counts.dropped.fetch_add(count, Ordering::Relaxed);
            return;
        }
    }
}

/// Adds a batch up: one row a file, however many events.
async fn write(pool: &PgPool, batch: &[Event]) -> Outcome {
    let copied = async {
        let mut transaction = pool.begin().await?;
        // Not checked queries: the table is this transaction's own.
        sqlx::query("CREATE TEMP TABLE batch (file_id uuid, at timestamptz) ON COMMIT DROP")
            .execute(&mut *transaction)
            .await?;
        let mut copy = transaction.copy_in_raw("COPY batch FROM STDIN").await?;
        for piece in batch.chunks(PIECE) {
            copy.send(lines(piece).into_bytes()).await?;
        }
        copy.finish().await?;
        // In the order of ids, so that two replicas can't wait for each other. Locked, so that
        // none is deleted before its row of statistics is there.
        sqlx::query(
            "WITH held AS (SELECT id FROM files WHERE id IN (SELECT file_id FROM batch)
                           ORDER BY id FOR KEY SHARE)
             INSERT INTO file_stats (file_id, downloads, last_downloaded_at)
             SELECT file_id, count(*), max(at) FROM batch JOIN held ON id = file_id
             GROUP BY file_id ORDER BY file_id
             ON CONFLICT (file_id) DO UPDATE SET
                 downloads = file_stats.downloads + excluded.downloads,
                 last_downloaded_at =
                     greatest(file_stats.last_downloaded_at, excluded.last_downloaded_at)",
        )
        .execute(&mut *transaction)
        .await?;
        Ok(transaction)
    };
    let transaction = match tokio::time::timeout(PATIENCE, copied).await {
        Ok(Ok(transaction)) => transaction,
        Ok(Err(error)) => return Outcome::Failed(error),
        Err(_) => return Outcome::Failed(Error::PoolTimedOut),
    };
    match tokio::time::timeout(PATIENCE, transaction.commit()).await {
        Ok(Ok(())) => Outcome::Written,
        Ok(Err(error)) => Outcome::Unknown(error),
        Err(_) => Outcome::Unknown(Error::PoolTimedOut),
    }
}

fn lines(piece: &[Event]) -> String {
    let mut text = String::with_capacity(piece.len() * LINE);
    for Event { file_id, at } in piece {
        let at = at.to_offset(time::UtcOffset::UTC);
        let (date, time) = (at.date(), at.time());
        let (hour, minute, second, micro) = time.as_hms_micro();
        let _ = writeln!(text, "{file_id}\t{date} {hour:02}:{minute:02}:{second:02}.{micro:06}+00");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_batch_leaves_the_rest_in_the_queue() {
        let (queue, writer) = queue(4 * BATCH);
        let event = Event { file_id: Uuid::nil(), at: OffsetDateTime::UNIX_EPOCH };
        (0..3 * BATCH).for_each(|_| queue.record(event));
        // Nobody listens there: the first batch is tried again and again.
        let pool = PgPool::connect_lazy("postgres://127.0.0.1:1/nowhere").unwrap();
        let mut writing = std::pin::pin!(writer.run(pool, CancellationToken::new()));
        let taken = tokio::time::timeout(Duration::from_millis(50), &mut writing).await;
        assert!(taken.is_err(), "it ended");
        assert_eq!(queue.free(), 2 * BATCH);
        assert_eq!((queue.written(), queue.dropped()), (0, 0));
    }
}
