//! What goes into the store comes out, or leaves nothing.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use sha2::{Digest as _, Sha256};
use streaming::buffers::LINGER;
use streaming::check::Difference;
use streaming::upload::receive;
use streaming::walk::{Entry, Standing, Walk};
use streaming::{Buffers, LocalStore, UploadError, UploadLimits};
use tempfile::TempDir;
use tokio::time::timeout;
use uuid::Uuid;

const STALL: Duration = Duration::from_secs(60);

/// Of an upload with `count` buffers of 1,000 bytes, of which it may have all.
fn limits_with(count: usize) -> UploadLimits {
    let buffers = Buffers::new(count, 1000);
    UploadLimits { max_size: 100_000, buffers, borrow: count - 1, stall: STALL }
}

fn limits() -> UploadLimits {
    limits_with(1)
}

fn store() -> (TempDir, LocalStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path(), None).unwrap();
    (folder, store)
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|index| u8::try_from(index * 7 % 251).unwrap()).collect()
}

/// A body in frames of `frame` bytes, that then ends, breaks off or hangs.
struct Frames {
    rest: Bytes,
    frame: usize,
    end: End,
}

enum End {
    Whole,
    Broken,
    Hangs,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let len = self.frame.min(self.rest.len());
        match self.end {
            _ if len > 0 => Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(len))))),
            End::Whole => Poll::Ready(None),
            End::Broken => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            End::Hangs => Poll::Pending,
        }
    }
}

fn frames(size: usize, frame: usize, end: End) -> Frames {
    Frames { rest: content(size).into(), frame, end }
}

/// Everything has settled: no staged file, and the guard is free.
async fn assert_nothing_left(folder: &TempDir, store: &LocalStore, guard: &Arc<()>) {
    store.close().await;
    assert_eq!(fs::read_dir(folder.path().join("staging")).unwrap().count(), 0, "staged files");
    assert_eq!(fs::read_dir(folder.path().join("content")).unwrap().count(), 0, "content");
    assert_eq!(Arc::strong_count(guard), 1, "guards");
}

async fn read(body: impl Body<Data = Bytes, Error = io::Error>) -> io::Result<Vec<u8>> {
    let mut body = std::pin::pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        bytes.extend_from_slice(&frame?.into_data().unwrap());
    }
    Ok(bytes)
}

#[tokio::test]
async fn content_comes_back_equal_whatever_the_frames_and_sizes() {
    let (_folder, store) = store();
    for size in [0, 1, 999, 1000, 1001, 2000, 54_321] {
        for (frame, buffers) in [(1, 1), (333, 2), (1000, 1), (1000, 9), (16_384, 1), (16_384, 16)]
        {
            let expected = content(size);
            let limits = limits_with(buffers);
            let received =
                receive(&store, frames(size, frame, End::Whole), limits, ()).await.unwrap();
            assert_eq!(received.size, size as u64);
            assert_eq!(received.sha256[..], Sha256::digest(&expected)[..]);
            let key = Uuid::new_v4();
            store.publish(received.file, key).await.unwrap();
            let content = store.content(key, ()).await.unwrap();
            assert_eq!(content.size(), size as u64);
            let bytes =
                read(content.into_body(0..size as u64, 1000, received.sha256)).await.unwrap();
            assert!(bytes == expected, "size {size}, frame {frame}, buffers {buffers}");
        }
    }
}

#[tokio::test]
async fn any_range_is_that_range() {
    let (_folder, store) = store();
    let received = receive(&store, Full::from(content(10_000)), limits(), ()).await.unwrap();
    let key = Uuid::new_v4();
    store.publish(received.file, key).await.unwrap();
    for range in [0..1, 0..1000, 999..1001, 1000..3000, 9_999..10_000, 0..10_000, 5..5] {
        let opened = store.content(key, ()).await.unwrap();
        let body = opened.into_body(range.clone(), 1000, received.sha256);
        assert_eq!(body.size_hint().exact(), Some(range.end - range.start));
        let bytes = read(body).await.unwrap();
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        assert!(bytes == content(10_000)[range.clone()], "{range:?}");
    }
}

#[tokio::test]
async fn one_byte_over_the_limit_is_refused_and_leaves_nothing() {
    let (folder, store) = store();
    let guard = Arc::new(());
    receive(&store, frames(100_000, 700, End::Whole), limits(), ()).await.unwrap();
    let error = receive(&store, frames(100_001, 700, End::Whole), limits(), guard.clone()).await;
    assert!(matches!(error, Err(UploadError::TooLarge { max_size: 100_000 })), "{error:?}");
    assert_nothing_left(&folder, &store, &guard).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let (folder, store) = store();
    let guard = Arc::new(());
    let error = receive(&store, frames(54_321, 700, End::Broken), limits(), guard.clone()).await;
    assert!(matches!(error, Err(UploadError::Body(_))), "{error:?}");
    assert_nothing_left(&folder, &store, &guard).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_hangs_is_given_up() {
    let (folder, store) = store();
    let guard = Arc::new(());
    let begin = tokio::time::Instant::now();
    let error = receive(&store, frames(54_321, 700, End::Hangs), limits(), guard.clone()).await;
    assert!(matches!(error, Err(UploadError::Stalled(_))), "{error:?}");
    assert!(begin.elapsed() < 2 * STALL, "{:?}", begin.elapsed());
    assert_nothing_left(&folder, &store, &guard).await;
}

#[tokio::test]
async fn an_upload_dropped_at_any_point_leaves_nothing() {
    let (folder, store) = store();
    let guard = Arc::new(());
    // One poll more each time: between frames, during writes, during the sync.
    for polls in 0..80 {
        let limits = limits_with(1 + polls % 2 * 7);
        let mut upload =
            Box::pin(receive(&store, frames(50_000, 700, End::Whole), limits, guard.clone()));
        for _ in 0..polls {
            let poll = std::future::poll_fn(|cx| Poll::Ready(upload.as_mut().poll(cx))).await;
            if poll.is_ready() {
                break;
            }
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
    }
    assert_nothing_left(&folder, &store, &guard).await;
}

#[tokio::test]
async fn a_lent_buffer_is_back_before_its_borrower_waits_for_a_client() {
    let (folder, store) = store();
    let (limits, guard) = (limits_with(8), Arc::new(()));
    let buffers = limits.buffers.clone();
    let body = frames(54_321, 700, End::Hangs);
    let mut uploads = vec![Box::pin(receive(&store, body, limits.clone(), guard.clone()))];
    assert!(timeout(20 * LINGER, &mut uploads[0]).await.is_err(), "it hangs");
    assert_eq!(buffers.free(), 7, "it has one of its own");
    for _ in 0..7 {
        let body = frames(2500, 700, End::Hangs);
        uploads.push(Box::pin(receive(&store, body, limits.clone(), guard.clone())));
    }
    for upload in &mut uploads {
        assert!(timeout(5 * LINGER, upload).await.is_err(), "it hangs");
    }
    assert_eq!(buffers.free(), 0, "each of eight has its own");
    drop(uploads);
    assert_nothing_left(&folder, &store, &guard).await;
    assert_eq!(buffers.free(), 8);
}

#[tokio::test]
async fn a_borrower_that_never_pauses_makes_room_for_others() {
    let (_folder, store) = store();
    let limits = UploadLimits { max_size: u64::MAX, ..limits_with(4) };
    let (buffers, came) = (limits.buffers.clone(), Arc::new(AtomicUsize::new(0)));
    let (mut before, witness) = (0, came.clone());
    let busy = frames(2_000_000, 700, End::Whole).map_frame(|frame| {
        before += usize::from(came.load(Ordering::SeqCst) == 0);
        frame
    });
    let other = async {
        while buffers.free() > 0 {
            tokio::task::yield_now().await;
        }
        let body = frames(700, 700, End::Hangs).map_frame(move |frame| {
            witness.fetch_add(1, Ordering::SeqCst);
            frame
        });
        receive(&store, body, limits.clone(), ()).await
    };
    tokio::select! {
        received = receive(&store, busy, limits.clone(), ()) => received.unwrap(),
        _ = other => panic!("it hangs"),
    };
    assert!(before < 1000, "{before} of 2,858 frames came before the other had a buffer");
}

#[tokio::test]
async fn one_alone_borrows_what_there_is_and_no_more_than_it_may() {
    let (_folder, store) = store();
    for (count, borrow, most) in [(1, 15, 1), (16, 0, 1), (16, 3, 4), (4, 15, 4), (16, 15, 16)] {
        let limits = UploadLimits { borrow, ..limits_with(count) };
        let (buffers, least) = (limits.buffers.clone(), Arc::new(AtomicUsize::new(count)));
        let witness = least.clone();
        let body = frames(54_321, 700, End::Whole).map_frame(move |frame| {
            witness.fetch_min(buffers.free(), Ordering::SeqCst);
            frame
        });
        receive(&store, body, limits.clone(), ()).await.unwrap();
        assert_eq!(count - least.load(Ordering::SeqCst), most, "{borrow} of {count}");
        assert_eq!(limits.buffers.free(), count);
    }
}

/// Counts what is staged at the moment when it is dropped.
struct Witness {
    staging: PathBuf,
    staged: Arc<AtomicUsize>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.staged.store(fs::read_dir(&self.staging).unwrap().count(), Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_guard_is_held_until_the_staged_file_is_gone() {
    let (folder, store) = store();
    let staged = Arc::new(AtomicUsize::new(99));
    let witness = Witness { staging: folder.path().join("staging"), staged: staged.clone() };
    let error = receive(&store, frames(54_321, 700, End::Broken), limits(), witness).await;
    assert!(matches!(error, Err(UploadError::Body(_))));
    store.close().await;
    assert_eq!(staged.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_guard_is_held_as_long_as_the_last_chunk() {
    let (_folder, store) = store();
    let received = receive(&store, Full::from(content(3000)), limits(), ()).await.unwrap();
    let key = Uuid::new_v4();
    store.publish(received.file, key).await.unwrap();
    let guard = Arc::new(());
    let opened = store.content(key, guard.clone()).await.unwrap();
    let mut body = opened.into_body(0..3000, 1000, received.sha256);
    let chunk = body.frame().await.unwrap().unwrap().into_data().unwrap();
    drop(body);
    store.close().await; // the file too, which holds the guard while it is open
    assert_eq!(Arc::strong_count(&guard), 2, "the chunk is alive");
    drop(chunk);
    assert_eq!(Arc::strong_count(&guard), 1);
}

#[tokio::test]
async fn content_that_was_cut_short_ends_with_an_error() {
    let (folder, store) = store();
    let received = receive(&store, Full::from(content(3000)), limits(), ()).await.unwrap();
    let key = Uuid::new_v4();
    store.publish(received.file, key).await.unwrap();
    let content = store.content(key, ()).await.unwrap();
    let file = folder.path().join("content").join(key.to_string());
    fs::File::options().write(true).open(file).unwrap().set_len(1500).unwrap();
    let error = read(content.into_body(0..3000, 1000, received.sha256)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn content_that_was_altered_never_ends_as_if_whole() {
    let (folder, store) = store();
    for size in [1, 999, 1000, 1001, 3000] {
        let received = receive(&store, Full::from(content(size)), limits(), ()).await.unwrap();
        let key = Uuid::new_v4();
        store.publish(received.file, key).await.unwrap();
        let file = folder.path().join("content").join(key.to_string());
        for at in [0, size / 2, size - 1] {
            let mut altered = content(size);
            altered[at] ^= 1;
            fs::write(&file, &altered).unwrap();
            let opened = store.content(key, ()).await.unwrap();
            let mut body = opened.into_body(0..size as u64, 1000, received.sha256);
            let mut sent = 0;
            let error = loop {
                match body.frame().await.unwrap() {
                    Ok(frame) => sent += frame.into_data().unwrap().len(),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            // All but the last chunk.
            assert_eq!(sent, (size - 1) / 1000 * 1000, "size {size}, at {at}");
            assert!(body.frame().await.is_none());
        }
    }
}

/// What a walk finds, in batches of `limit`.
async fn all(mut walk: Walk, limit: usize) -> Vec<Entry> {
    let mut found = Vec::new();
    loop {
        let batch = walk.next_batch(limit).await.unwrap();
        if batch.is_empty() {
            return found;
        }
        assert!(batch.len() <= limit);
        found.extend(batch);
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_walk_goes_in_batches_and_tells_by_age_what_is_left() {
    let (folder, store) = store();
    let received = receive(&store, Full::from(content(10)), limits(), ()).await.unwrap();
    let mut keys: Vec<_> = (0..5).map(|_| Uuid::new_v4()).collect();
    store.publish(received.file, keys[0]).await.unwrap();
    for key in &keys[1..] {
        fs::write(folder.path().join("content").join(key.to_string()), "x").unwrap();
    }
    // Other ways to write a key are no content of ours.
    for foreign in ["README", &keys[0].simple().to_string(), &keys[0].braced().to_string()] {
        fs::write(folder.path().join("content").join(foreign), "x").unwrap();
    }
    fs::write(folder.path().join("staging/left"), "x").unwrap();
    let standing = |found: &[Entry], standing| {
        assert!(found.iter().all(|entry| entry.standing == standing), "{found:?}");
    };

    let young = all(store.walk_contents(HOUR).await.unwrap(), 3).await;
    standing(&young, Standing::Young);
    assert_eq!(young.len(), 8);
    standing(&all(store.walk_staging(HOUR).await.unwrap(), 3).await, Standing::Young);

    let old = all(store.walk_contents(Duration::ZERO).await.unwrap(), 2).await;
    standing(&old, Standing::Left);
    let mut found: Vec<_> = old.iter().filter_map(Entry::key).collect();
    found.sort();
    keys.sort();
    assert_eq!(found, keys);
    let left = all(store.walk_staging(Duration::ZERO).await.unwrap(), 2).await;
    standing(&left, Standing::Left);
    store.remove_staged(&left[0]).await.unwrap();
    assert!(all(store.walk_staging(Duration::ZERO).await.unwrap(), 2).await.is_empty());
}

#[tokio::test]
async fn a_walk_sees_what_an_upload_holds() {
    let (folder, store) = store();
    let received = receive(&store, Full::from(content(10)), limits(), ()).await.unwrap();
    // Of another process's store, which shares nothing but the folder.
    let other = LocalStore::open(folder.path(), None).unwrap();
    let staged = all(other.walk_staging(Duration::ZERO).await.unwrap(), 9).await;
    assert_eq!(staged.iter().map(|entry| entry.standing).collect::<Vec<_>>(), [Standing::Held]);
    let key = Uuid::new_v4();
    store.publish(received.file, key).await.unwrap();
    let content = all(other.walk_contents(Duration::from_secs(60)).await.unwrap(), 9).await;
    assert_eq!(content[0].standing, Standing::Young, "its age counts from the rename");
}

#[tokio::test]
async fn content_is_compared_and_put_into_quarantine() {
    let (folder, store) = store();
    for size in [0_usize, 999, 1000, 2001] {
        let received = receive(&store, Full::from(content(size)), limits(), ()).await.unwrap();
        let (key, sha256) = (Uuid::new_v4(), received.sha256);
        store.publish(received.file, key).await.unwrap();
        let compare = |size: usize, sha256| store.compare(key, size as u64, sha256, 1000);
        assert_eq!(compare(size, Some(sha256)).await.unwrap(), None);
        assert_eq!(compare(size, Some([0; 32])).await.unwrap(), Some(Difference::Digest));
        assert_eq!(compare(size, None).await.unwrap(), None, "it is not read");
        let other = Some(Difference::Size(size as u64));
        assert_eq!(compare(size + 1, Some(sha256)).await.unwrap(), other);
        store.quarantine(key).await.unwrap();
        let missing = Some(Difference::Missing);
        assert_eq!(compare(size, Some(sha256)).await.unwrap(), missing);
    }
    let kept = fs::read_dir(folder.path().join("quarantine")).unwrap();
    let mut kept: Vec<_> = kept.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    kept.sort_by_key(Vec::len);
    assert_eq!(kept, [0, 999, 1000, 2001].map(content));
}

#[tokio::test]
async fn removing_content_twice_is_fine_and_an_open_download_goes_on() {
    let (_folder, store) = store();
    let received = receive(&store, Full::from(content(3000)), limits(), ()).await.unwrap();
    let key = Uuid::new_v4();
    store.publish(received.file, key).await.unwrap();
    let content_open = store.content(key, ()).await.unwrap();
    store.remove(key, ()).await.unwrap();
    store.remove(key, ()).await.unwrap();
    assert_eq!(store.content(key, ()).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    let body = content_open.into_body(0..3000, 1000, received.sha256);
    assert!(read(body).await.unwrap() == content(3000));
}
