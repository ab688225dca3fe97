//! Large chunks: who gets them, what they hold, and when they are free again.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use streaming::chunks::{FAST, LARGE, LARGE_AFTER};
use streaming::upload::receive;
use streaming::{Buffers, Chunks, Digest, Download, LocalStore, UploadLimits};
use tempfile::TempDir;
use uuid::Uuid;

const SMALL: usize = 16 * 1024;
const SIZE: usize = 6 << 20;

/// A store with one content, of [`SIZE`] bytes.
struct Stored {
    _folder: TempDir,
    store: LocalStore,
    key: Uuid,
    bytes: Vec<u8>,
    sha256: Digest,
}

impl Stored {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(folder.path(), None).unwrap();
        let bytes: Vec<u8> = (0..SIZE).map(|index| (index * 7 % 251).to_le_bytes()[0]).collect();
        let limits = UploadLimits {
            max_size: SIZE as u64,
            buffers: Buffers::new(1, 64 * 1024),
            borrow: 0,
            stall: Duration::from_secs(60),
        };
        let body = Full::from(bytes.clone());
        let received = receive(&store, body, limits, ()).await.unwrap();
        let (key, sha256) = (Uuid::new_v4(), received.sha256);
        store.publish(received.file, key).await.unwrap();
        Self { _folder: folder, store, key, bytes, sha256 }
    }

    async fn download(&self, chunks: &Chunks, guard: Arc<()>) -> Download<Arc<()>> {
        let content = self.store.content(self.key, guard).await.unwrap();
        content.into_body(0..SIZE as u64, chunks.clone(), self.sha256)
    }

    /// Reads a range of it, and says which lengths its chunks had.
    async fn read(&self, chunks: &Chunks, range: Range<usize>) -> Vec<usize> {
        let content = self.store.content(self.key, ()).await.unwrap();
        let part = range.start as u64..range.end as u64;
        let mut body = content.into_body(part, chunks.clone(), self.sha256);
        let (mut at, mut lengths) = (range.start, Vec::new());
        while let Some(chunk) = next(&mut body).await {
            assert!(chunk == self.bytes[at..at + chunk.len()], "at {at}");
            at += chunk.len();
            lengths.push(chunk.len());
        }
        assert_eq!(at, range.end);
        lengths
    }
}

async fn next<G: Send + Sync + 'static>(body: &mut Download<G>) -> Option<Bytes> {
    Some(body.frame().await?.unwrap().into_data().unwrap())
}

/// Waits until none is in anybody's hands: a download ends on the blocking pool.
async fn returned(chunks: &Chunks) {
    while chunks.taken() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Reads on until a chunk is large.
async fn large(body: &mut Download<Arc<()>>) -> Bytes {
    loop {
        let chunk = next(body).await.unwrap();
        if chunk.len() > SMALL {
            return chunk;
        }
    }
}

#[tokio::test]
async fn a_fast_reader_gets_large_ones_and_they_are_the_same() {
    let stored = Stored::new().await;
    let chunks = Chunks::new(SMALL, 2);
    for range in [0..SIZE, 0..SIZE - 1, 1..SIZE, 5..SIZE - SMALL - 1] {
        let lengths = stored.read(&chunks, range.clone()).await;
        let small = lengths.iter().take_while(|length| **length == SMALL).count();
        assert!((small * SMALL) as u64 >= LARGE_AFTER, "{range:?}: {small} small ones first");
        let large = lengths.iter().filter(|length| **length == LARGE * SMALL).count();
        assert!(large > 0, "{range:?}: {lengths:?}");
        returned(&chunks).await;
    }
    // One at a time, so one in all.
    assert_eq!(chunks.most(), 1);
    // Where they lie.
    let mut body = stored.download(&chunks, Arc::default()).await;
    let mut places = HashSet::new();
    while let Some(chunk) = next(&mut body).await {
        if chunk.len() == LARGE * SMALL {
            places.insert(chunk.as_ptr());
        }
    }
    // A pause of the machine's, longer than a fast client's, gives one back.
    assert!((1..=3).contains(&places.len()), "{places:?}");
}

#[tokio::test]
async fn what_is_short_goes_out_in_small_ones() {
    let stored = Stored::new().await;
    let chunks = Chunks::new(SMALL, 2);
    for range in [0..1, 0..SMALL, 7..2 * SMALL + 8, 100..usize::try_from(LARGE_AFTER).unwrap()] {
        let lengths = stored.read(&chunks, range).await;
        assert!(lengths.iter().all(|length| *length <= SMALL), "{lengths:?}");
    }
    assert_eq!(chunks.most(), 0);
}

#[tokio::test]
async fn a_slow_reader_gets_small_ones() {
    let stored = Stored::new().await;
    let chunks = Chunks::new(SMALL, 2);
    let mut body = stored.download(&chunks, Arc::default()).await;
    while let Some(chunk) = next(&mut body).await {
        assert!(chunk.len() <= SMALL);
        std::thread::sleep(FAST);
    }
    assert_eq!(chunks.most(), 0);
}

#[tokio::test]
async fn who_becomes_slow_gives_its_large_ones_back() {
    let stored = Stored::new().await;
    let chunks = Chunks::new(SMALL, 2);
    let mut body = stored.download(&chunks, Arc::default()).await;
    let chunk = large(&mut body).await;
    assert_eq!(chunks.taken(), 1);
    drop(chunk);
    assert_eq!(chunks.taken(), 1, "it is read into once more");
    std::thread::sleep(FAST);
    let chunk = next(&mut body).await.unwrap();
    assert_eq!((chunk.len(), chunks.taken()), (SMALL, 0));
}

#[tokio::test]
async fn a_large_chunk_that_is_held_leaves_small_ones_to_the_others() {
    let stored = Stored::new().await;
    let chunks = Chunks::new(SMALL, 1);
    let guard = Arc::new(());
    let mut stopped = stored.download(&chunks, guard.clone()).await;
    let held = large(&mut stopped).await;
    assert_eq!(chunks.taken(), 1);
    // The one that stopped itself, too.
    assert_eq!(next(&mut stopped).await.unwrap().len(), SMALL);
    let lengths = stored.read(&chunks, 0..SIZE).await;
    assert!(lengths.iter().all(|length| *length <= SMALL), "{lengths:?}");
    // What pays for it is paid back with its last byte.
    drop(stopped);
    stored.store.close().await; // the file too
    assert_eq!((chunks.taken(), Arc::strong_count(&guard)), (1, 2));
    let part = held.slice(5..6);
    drop(held);
    assert_eq!((chunks.taken(), Arc::strong_count(&guard)), (1, 2));
    drop(part);
    assert_eq!((chunks.taken(), chunks.most(), Arc::strong_count(&guard)), (0, 1, 1));
}
