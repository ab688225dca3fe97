//! The way of an upload's bytes to its file: one part is being filled while the one
//! before it is hashed and written on the blocking pool.

use std::io::{self, Write as _};

use bytes::{Buf as _, Bytes};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Digest;
use crate::buffers::{Buffer, Buffers, LINGER, PAUSE};
use crate::{LocalStore, StagedFile};

/// A staged file, and what is not yet in it.
///
/// It never holds less than one buffer, its own: in `part`, `away`, or `empty`. All
/// others are lent; it keeps them from part to part while nobody else needs them, as
/// memory that is freed and allocated for each part is twice resident for a while.
pub(super) struct Parts<'a, G: Send + Sync + 'static> {
    store: &'a LocalStore,
    buffers: &'a Buffers,
    // So many more than its own, at the most.
    most_lent: usize,
    pub staged: StagedFile<G>,
    // All but the last are full.
    part: Vec<Buffer>,
    empty: Vec<Buffer>,
    hasher: Sha256,
    away: Option<Away>,
    lent_until: Option<Instant>,
    held_until: Option<Instant>,
}

/// What is being written.
struct Away {
    buffers: usize,
    write: JoinHandle<io::Result<Written>>,
}

/// What comes back.
struct Written {
    hasher: Sha256,
    empty: Vec<Buffer>,
}

impl<'a, G: Send + Sync + 'static> Parts<'a, G> {
    pub fn new(
        store: &'a LocalStore,
        buffers: &'a Buffers,
        most_lent: usize,
        staged: StagedFile<G>,
        own: Buffer,
    ) -> Self {
        let hasher = Sha256::new();
        Self {
            store,
            buffers,
            most_lent,
            staged,
            part: Vec::new(),
            empty: vec![own],
            hasher,
            away: None,
            lent_until: None,
            held_until: None,
        }
    }

    /// Until when what is held may wait for more bytes: then, [`Parts::settle`].
    pub fn until(&self) -> Option<Instant> {
        self.lent_until.or(self.held_until)
    }

    /// Takes in `data`. Waits where there is no room until what is away is written:
    /// that is the back-pressure.
    pub async fn fill(&mut self, mut data: Bytes) -> io::Result<()> {
        while data.has_remaining() {
            let buffer = self.buffer().await?;
            let bytes = data.split_to(buffer.room().min(data.len()));
            buffer.put(&bytes);
            if buffer.room() == 0 && self.part.len() == self.part_size() {
                self.hand_over().await?;
            }
        }
        self.held_until = Some(Instant::now() + PAUSE);
        Ok(())
    }

    /// Writes what there is, and gives back what is lent; after a [`PAUSE`] the memory of
    /// its own buffer too, though not the buffer's place.
    pub async fn settle(&mut self) -> io::Result<()> {
        if !self.part.is_empty() {
            self.hand_over().await?;
        }
        self.come_back().await?;
        self.empty.truncate(1);
        self.lent_until = None;
        if self.held_until.is_some_and(|until| until <= Instant::now()) {
            self.empty.iter_mut().for_each(Buffer::release);
            self.held_until = None;
        }
        Ok(())
    }

    /// Writes what there is, and makes the file durable.
    pub async fn finish(mut self) -> io::Result<(StagedFile<G>, Digest)> {
        self.come_back().await?;
        let Self { store, staged, part, hasher, empty, .. } = self;
        drop(empty);
        let finish = move || {
            let Written { hasher, .. } = write(part, hasher, &staged)?;
            staged.file()?.sync_all()?;
            Ok((staged, hasher.finalize().into()))
        };
        store.blocking(finish).await
    }

    /// So many buffers go together, where there are so many: half of what may be held,
    /// as the other half is away.
    fn part_size(&self) -> usize {
        self.most_lent.div_ceil(2).max(1)
    }

    /// One that has room.
    async fn buffer(&mut self) -> io::Result<&mut Buffer> {
        while self.part.last().is_none_or(|last| last.room() == 0) {
            if let Some(empty) = self.empty.pop() {
                self.part.push(empty);
            } else if let Some(lent) = self.borrow() {
                self.part.push(lent);
                self.lent_until.get_or_insert_with(|| Instant::now() + LINGER);
            } else if self.part.is_empty() {
                self.come_back().await?;
            } else {
                self.hand_over().await?;
            }
        }
        let last = self.part.last_mut();
        last.ok_or_else(|| io::Error::other("a part without a buffer"))
    }

    fn borrow(&self) -> Option<Buffer> {
        let held = self.part.len() + self.away.as_ref().map_or(0, |away| away.buffers);
        (held <= self.most_lent).then(|| self.buffers.borrow()).flatten()
    }

    /// Sends the part to be written, once the one before it is.
    async fn hand_over(&mut self) -> io::Result<()> {
        self.come_back().await?;
        let (part, hasher) = (std::mem::take(&mut self.part), self.hasher.clone());
        let (staged, buffers) = (self.staged.share(), part.len());
        let write = self.store.begin(move || write(part, hasher, &staged));
        self.away = Some(Away { buffers, write });
        self.lent_until = Some(Instant::now() + LINGER);
        Ok(())
    }

    /// Waits for what is away.
    async fn come_back(&mut self) -> io::Result<()> {
        let Some(away) = &mut self.away else { return Ok(()) };
        let written = LocalStore::done(&mut away.write).await;
        self.away = None;
        let Written { hasher, empty } = written?;
        self.hasher = hasher;
        self.empty.extend(empty);
        if self.buffers.free() == 0 {
            // Somebody may be waiting for its own.
            self.empty.truncate(usize::from(self.part.is_empty()));
        }
        Ok(())
    }
}

/// Hashes and writes. Blocks.
fn write<G: Send + Sync + 'static>(
    mut part: Vec<Buffer>,
    mut hasher: Sha256,
    staged: &StagedFile<G>,
) -> io::Result<Written> {
    for buffer in &mut part {
        hasher.update(buffer.bytes());
        staged.file()?.write_all(buffer.bytes())?;
        buffer.clear();
    }
    Ok(Written { hasher, empty: part })
}
