//! What was found to be as it was stored is not hashed again, and nothing else is spared.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use streaming::upload::receive;
use streaming::verified::{Claim, FRESH, PLACES, Verified, cost};
use streaming::{Buffers, Digest, LocalStore, UploadLimits};
use uuid::Uuid;

const SIZE: usize = 3000;

fn claim(path: &Path, sha256: Digest) -> Claim {
    Claim::new(&fs::metadata(path).unwrap(), sha256)
}

fn file(folder: &Path, name: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, "hello").unwrap();
    path
}

#[test]
fn a_finding_counts_for_the_same_file_and_digest_until_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (file(folder.path(), "a"), file(folder.path(), "b"));
    let (verified, now) = (Verified::default(), Instant::now());
    let found = claim(&path, [1; 32]);
    assert!(!verified.holds(&found, now), "nothing is known");
    verified.found(&found, now);
    assert!(verified.holds(&claim(&path, [1; 32]), now + FRESH - Duration::from_secs(1)));
    assert!(!verified.holds(&found, now + FRESH), "it is old");
    assert!(!verified.holds(&claim(&path, [2; 32]), now), "another digest");
    assert!(!verified.holds(&claim(&other, [1; 32]), now), "another file");
    // The clock of a file system moves in steps, of 10 ms at the most.
    std::thread::sleep(Duration::from_millis(20));
    fs::File::options().write(true).open(&path).unwrap().write_all(b"jello").unwrap();
    assert!(!verified.holds(&claim(&path, [1; 32]), now), "it was changed");
}

#[test]
fn findings_have_so_many_places_and_the_last_one_has_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "a");
    let (verified, now) = (Verified::default(), Instant::now());
    let claims: Vec<_> = (0..8 * PLACES as u64)
        .map(|number| {
            let mut sha256 = [0; 32];
            sha256[..8].copy_from_slice(&number.to_le_bytes());
            claim(&path, sha256)
        })
        .collect();
    for claim in &claims {
        verified.found(claim, now);
        assert!(verified.holds(claim, now));
    }
    let known = claims.iter().filter(|claim| verified.holds(claim, now)).count();
    assert!((PLACES / 2..=PLACES).contains(&known), "{known}");
    assert!(cost() <= 24 << 10, "{}", cost());
}

async fn whole(store: &LocalStore, key: Uuid, sha256: Digest) -> io::Result<usize> {
    let content = store.content(key, ()).await?;
    let mut body = content.into_body(0..SIZE as u64, 1000, sha256);
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        size += frame?.into_data().map_or(0, |data| data.len());
    }
    Ok(size)
}

#[tokio::test]
async fn what_is_altered_after_it_was_found_whole_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path(), None).unwrap();
    let limits = UploadLimits {
        max_size: SIZE as u64,
        buffers: Buffers::new(1, 1000),
        borrow: 0,
        stall: Duration::from_secs(60),
    };
    let body = Full::from(vec![7; SIZE]);
    let received = receive(&store, body, limits, ()).await.unwrap();
    let key = Uuid::new_v4();
    store.publish(received.file, key).await.unwrap();
    for _ in 0..2 {
        assert_eq!(whole(&store, key, received.sha256).await.unwrap(), SIZE);
    }
    std::thread::sleep(Duration::from_millis(20));
    let path = folder.path().join("content").join(key.to_string());
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.write_all(b"8").unwrap();
    for _ in 0..2 {
        let error = whole(&store, key, received.sha256).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
