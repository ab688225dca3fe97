//! Fsck: every disagreement between records and content, one by one.
//!
//! A page of records and a batch of names are held at a time, whatever there is. It
//! may run beside the service: what a request is at work on is told apart by the
//! order of its steps (record, then content, goes; content, then record, comes), by
//! its lock, or by its age.

use std::fmt;
use std::io;
use std::time::Duration;

use futures_util::TryStreamExt;
use storage::pool::answered;
use storage::{PgPool, files};
use streaming::check::Difference;
use streaming::walk::{Entry, Standing};
use streaming::{Digest, LocalStore};
use uuid::Uuid;

use crate::sweep::SweepError;

/// Records read at a time, and files looked at: 190 KiB of records with the longest
/// texts. No connection to the database is held while files are read.
const BATCH: u16 = 256;

/// Contents without a record that are looked at again together, after
/// [`SETTLING`]; a batch more at most: 68 KiB of keys.
const SUSPECTS: usize = 4096;

/// How long content without a record is left alone before it counts: a request that
/// has deleted the record removes the content next.
const SETTLING: Duration = Duration::from_secs(1);

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Files younger than this may be in publication.
    pub age: Duration,
    /// Whether to read content, and compare its SHA-256.
    pub digests: bool,
    /// The buffer to read with, in bytes.
    pub chunk: usize,
    /// Whether to repair: see [`Repair`].
    pub repair: bool,
}

/// A disagreement.
#[derive(Clone, Debug)]
pub enum Finding {
    /// The record's content is not what it should be.
    Differs {
        /// Of the record.
        id: Uuid,
        /// What the record says of the size, in bytes.
        size: u64,
        /// How.
        difference: Difference,
    },
    /// Content has no record.
    Orphan(Uuid),
    /// A staged file that no upload holds.
    Leftover(String),
    /// A file among the content whose name the service does not make: told, and no
    /// disagreement.
    Foreign(String),
}

/// What was done about it. A record is never touched: whoever has a backup needs it,
/// and a client can delete it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Nothing: it was not asked for, or there is nothing that is safe.
    None,
    /// The file was removed, as the sweep would: [`Finding::Orphan`] and
    /// [`Finding::Leftover`].
    Removed,
    /// The content was moved away, so that no part of it is served as if right: where
    /// size or digest are others.
    Quarantined,
    /// It failed, and the disagreement is left. The rest is repaired all the same.
    Failed(io::ErrorKind),
}

impl Repair {
    fn of(repaired: io::Result<()>, how: Self) -> Self {
        repaired.map_or_else(|error| Self::Failed(error.kind()), |()| how)
    }
}

/// What was looked at, and found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records compared.
    pub records: u64,
    /// Content that has a record, or is young.
    pub contents: u64,
    /// Of `contents`, what has no record: it may be in publication.
    pub young: u64,
    /// Staged files that an upload holds, or may hold.
    pub staged: u64,
    /// Files that are none of the service's: no disagreement, and never touched.
    pub foreign: u64,
    /// Disagreements.
    pub found: u64,
    /// Files that were removed.
    pub removed: u64,
    /// Content that was moved away.
    pub quarantined: u64,
}

impl Summary {
    /// Whether there are no disagreements, or none any more.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.found == self.removed
    }
}

/// Compares all records with all content, and tells each disagreement by `tell`.
///
/// **Cancellation**: what was repaired by then is.
///
/// # Errors
/// [`SweepError`]: the folder or the database can't be read.
pub async fn fsck(
    pool: &PgPool,
    store: &LocalStore,
    options: Options,
    tell: impl FnMut(&Finding, Repair),
) -> Result<Summary, SweepError> {
    let mut fsck = Fsck { pool, store, options, summary: Summary::default(), tell };
    fsck.records().await?;
    fsck.contents().await?;
    fsck.staged().await?;
    Ok(fsck.summary)
}

struct Fsck<'a, F> {
    pool: &'a PgPool,
    store: &'a LocalStore,
    options: Options,
    summary: Summary,
    tell: F,
}

impl<F: FnMut(&Finding, Repair)> Fsck<'_, F> {
    async fn records(&mut self) -> Result<(), SweepError> {
        let mut after = None;
        loop {
            let page = files::page(self.pool, after, BATCH);
            let page = page.map_ok(|record| (record.id, record.size, record.sha256));
            let page: Vec<(Uuid, u64, Digest)> = answered(page.try_collect()).await?;
            let Some((last, ..)) = page.last() else { return Ok(()) };
            after = Some(*last);
            for (id, size, sha256) in page {
                self.record(id, size, sha256).await?;
            }
        }
    }

    async fn record(&mut self, id: Uuid, size: u64, sha256: Digest) -> Result<(), SweepError> {
        let Options { digests, chunk, repair, .. } = self.options;
        self.summary.records += 1;
        let sha256 = digests.then_some(sha256);
        let Some(difference) = self.store.compare(id, size, sha256, chunk).await? else {
            return Ok(());
        };
        // Deleted since the page was read? Content goes after its record.
        if files::get(self.pool, id).await?.is_none() {
            return Ok(());
        }
        let repair = match difference {
            Difference::Size(_) | Difference::Digest if repair => {
                match self.store.quarantine(id).await {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                    moved => Repair::of(moved, Repair::Quarantined),
                }
            }
            _ => Repair::None,
        };
        self.told(&Finding::Differs { id, size, difference }, repair);
        Ok(())
    }

    async fn contents(&mut self) -> Result<(), SweepError> {
        let mut walk = self.store.walk_contents(self.options.age).await?;
        let mut suspects = Vec::new();
        loop {
            let batch = walk.next_batch(BATCH.into()).await?;
            let is_end = batch.is_empty();
            let (mut keys, mut standings) = (Vec::new(), Vec::new());
            for entry in &batch {
                match entry.key() {
                    Some(key) => {
                        keys.push(key);
                        standings.push((key, entry.standing));
                    }
                    None => self.told(&Finding::Foreign(shown(entry)), Repair::None),
                }
            }
            let orphans = match keys.as_slice() {
                [] => Vec::new(),
                keys => files::without_record(self.pool, keys).await?,
            };
            let without = standings.into_iter().filter(|(key, _)| orphans.contains(key));
            let (orphans, young): (Vec<_>, Vec<_>) =
                without.partition(|(_, standing)| *standing == Standing::Left);
            self.summary.contents += (keys.len() - orphans.len()) as u64;
            self.summary.young += young.len() as u64;
            suspects.extend(orphans.into_iter().map(|(key, _)| key));
            if suspects.len() >= SUSPECTS || (is_end && !suspects.is_empty()) {
                tokio::time::sleep(SETTLING).await;
                for key in suspects.drain(..) {
                    self.orphan(key).await?;
                }
            }
            if is_end {
                return Ok(());
            }
        }
    }

    async fn orphan(&mut self, key: Uuid) -> Result<(), SweepError> {
        let difference = self.store.compare(key, 0, None, 0).await?;
        if difference == Some(Difference::Missing) {
            return Ok(()); // a request that deleted it has come to its end
        }
        let mut repair = Repair::None;
        if self.options.repair {
            repair = Repair::of(self.store.remove(key, ()).await, Repair::Removed);
        }
        self.told(&Finding::Orphan(key), repair);
        Ok(())
    }

    async fn staged(&mut self) -> Result<(), SweepError> {
        let mut walk = self.store.walk_staging(self.options.age).await?;
        loop {
            let batch = walk.next_batch(BATCH.into()).await?;
            if batch.is_empty() {
                return Ok(());
            }
            for entry in batch {
                if entry.standing != Standing::Left {
                    self.summary.staged += 1;
                    continue;
                }
                let mut repair = Repair::None;
                if self.options.repair {
                    repair = Repair::of(self.store.remove_staged(&entry).await, Repair::Removed);
                }
                self.told(&Finding::Leftover(shown(&entry)), repair);
            }
        }
    }

    fn told(&mut self, finding: &Finding, repair: Repair) {
        match finding {
            Finding::Foreign(_) => self.summary.foreign += 1,
            _ => self.summary.found += 1,
        }
        match repair {
            Repair::None | Repair::Failed(_) => {}
            Repair::Removed => self.summary.removed += 1,
            Repair::Quarantined => self.summary.quarantined += 1,
        }
        (self.tell)(finding, repair);
    }
}

/// A name as one word of one line, whatever is in it.
fn shown(entry: &Entry) -> String {
    let name = entry.name.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.chars().all(plain) { name.into_owned() } else { format!("{name:?}") }
}

/// One line, without a path.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs { id, size, difference } => match difference {
                Difference::Missing => write!(f, "missing {id}: the record has no content"),
                Difference::Size(found) => {
                    write!(f, "size {id}: the record says {size} bytes, the content has {found}")
                }
                Difference::Digest => write!(f, "digest {id}: the content has another SHA-256"),
                Difference::Unreadable(kind) => {
                    write!(f, "unreadable {id}: {}", io::Error::from(*kind))
                }
            },
            Self::Orphan(id) => write!(f, "orphan {id}: the content has no record"),
            Self::Leftover(name) => write!(f, "leftover {name}: staged, and no upload has it"),
            Self::Foreign(name) => write!(f, "foreign {name}: not a name that the service makes"),
        }
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Removed => f.write_str(" (removed)"),
            Self::Quarantined => f.write_str(" (content moved to quarantine)"),
            Self::Failed(kind) => write!(f, " (could not be repaired: {})", io::Error::from(*kind)),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, contents, young, staged, foreign, found, removed, quarantined } = self;
        write!(
            f,
            "{records} records, {contents} contents ({young} young, without a record), {staged} \
             staged, {foreign} foreign; {found} disagreements: {removed} removed, {quarantined} \
             moved to quarantine"
        )
    }
}
