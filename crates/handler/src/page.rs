//! Pages of records, as list and export send them: rows become bytes one by one.
//!
//! **What goes wrong**: `fetch_all`, then a `Vec` of records, then a `String` of
//! them: the whole, three times over (213 MiB for a million small rows). OFFSET
//! reads all that it skips, and shows a record twice when another one comes.
//!
//! **The pattern**: keyset pages. Each row is written to the page's buffer as it
//! comes from the database, and is gone; what does not fit is left to the next
//! page. The connection goes back to the pool when the page is full, before a
//! byte of it is sent.

use futures_util::TryStreamExt;
use storage::pool::answered;
use storage::{Error, FileRecord, PgExecutor, files};
use uuid::Uuid;

/// The longest row in any form, in bytes: JSON, with a name and a type of 255
/// bytes that are all quotes. The last row of a page may go beyond its size by
/// less than this.
const ROW: usize = 2 * 1024;

/// What a page holds beside its buffer, in bytes: the query's future (14,800
/// measured), the row that is being read, the body. Of an export the query of the next
/// page is under way while another is held: 19 KiB in all.
const OVERHEAD: usize = 20 * 1024;

/// The heap that one list or export in flight may hold, in bytes, for pages of `size`
/// bytes, so many of them at once. Held by the memory tests `list` and `export`.
#[must_use]
pub const fn cost(pages: usize, size: usize) -> usize {
    pages * (size + ROW) + OVERHEAD
}

/// How a record is written.
pub trait Form {
    /// What all pages together begin with.
    fn head(&self) -> &'static [u8] {
        b""
    }

    /// Appends a record to `page`; `first` of the page or not.
    fn row(&self, record: &FileRecord, page: &mut Vec<u8>, first: bool);
}

/// Some records, as they are sent.
#[derive(Debug)]
pub struct Page {
    /// In the form that was asked for.
    pub bytes: Vec<u8>,
    /// The last record, if there are more after it.
    pub next: Option<Uuid>,
}

/// For a page that is full at `size` bytes, with room for the row that fills it.
#[must_use]
pub fn buffer(size: usize) -> Vec<u8> {
    Vec::with_capacity(size + ROW)
}

/// Reads up to `limit` records after `after`, newest first, and writes them to a
/// page that begins with `head`. Fewer where `size` bytes are full before.
///
/// **Cancellation**: the connection reads what is left of the page when it goes
/// back to the pool.
///
/// # Errors
/// A database out of reach.
pub async fn read<'e>(
    executor: impl PgExecutor<'e> + 'e,
    after: Option<Uuid>,
    limit: u16,
    size: usize,
    head: &[u8],
    form: &impl Form,
) -> Result<Page, Error> {
    let mut bytes = buffer(size);
    bytes.extend_from_slice(head);
    let (mut last, mut more) = (None, false);
    // One more than wanted: whether there are more shows without asking again.
    let mut rows = std::pin::pin!(files::page(executor, after, limit.saturating_add(1)));
    let mut count = 0;
    answered(async {
        while let Some(record) = rows.try_next().await? {
            // The rest is read and passed over: a stream that is dropped leaves it to
            // the connection's next user.
            if count == limit || bytes.len() >= size {
                more = true;
                continue;
            }
            form.row(&record, &mut bytes, count == 0);
            last = Some(record.id);
            count += 1;
        }
        Ok(())
    })
    .await?;
    Ok(Page { bytes, next: last.filter(|_| more) })
}
