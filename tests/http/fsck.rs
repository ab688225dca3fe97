//! `server fsck`: what disagrees is told and repaired; what is live is not touched.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use handler::fsck::Summary;
use server::fsck::{Flags, run};
use sqlx::PgPool;
use tests::Request;
use uuid::Uuid;

use crate::rig::{Service, content, eventually, problem, rows};

const CHECK: Flags = Flags { repair: false, quick: false };
const QUICK: Flags = Flags { repair: false, quick: true };
const REPAIR: Flags = Flags { repair: true, quick: false };

/// What it finds, in order, and the summary.
async fn fsck(database: &PgPool, folder: &Path, flags: Flags) -> (Vec<String>, Summary) {
    let (config, mut out) = (Service::config(database, folder, &[]), Vec::new());
    let summary = run(&config, flags, &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains(folder.to_str().unwrap()), "{text}");
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    assert_eq!(lines.pop(), Some(summary.to_string()));
    lines.sort();
    (lines, summary)
}

/// Makes a file look as if nobody had been at it for two hours.
fn age(path: &Path) {
    let old = SystemTime::now() - Duration::from_secs(2 * 3600);
    File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
}

fn leave(path: PathBuf) -> PathBuf {
    fs::write(&path, "left").unwrap();
    age(&path);
    path
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_is_whole_or_live_is_clean(database: PgPool) {
    let service = Service::start(&database, &["--upload-chunk", "8KiB"]).await;
    for size in [0, 5, 200_000] {
        age(&service.content_of(&service.store("a", content(size)).await));
    }
    // In publication, to all appearance; and an upload that takes its time.
    let contents = service.staging().with_file_name("content");
    let young = contents.join(Uuid::now_v7().to_string());
    fs::write(&young, "young").unwrap();
    let foreign = leave(contents.join("read me"));
    let mut client = service.client().await;
    let post = Request::post("/v1/files?name=a", content(10_000));
    client.request(&post.body(&content(10_000)[..9000])).await.unwrap();
    eventually("some of it is staged", async || service.staged_bytes() >= 8192).await;
    age(&fs::read_dir(service.staging()).unwrap().next().unwrap().unwrap().path());

    for flags in [CHECK, QUICK, REPAIR] {
        let (lines, summary) = fsck(&database, service.folder(), flags).await;
        assert_eq!(lines, ["foreign \"read me\": not a name that the service makes"]);
        let expected = Summary {
            records: 3,
            contents: 4,
            young: 1,
            staged: 1,
            foreign: 1,
            ..Summary::default()
        };
        assert_eq!(summary, expected);
        assert!(summary.is_clean());
    }
    client.send(&content(10_000)[9000..]).await.unwrap();
    crate::rig::File::of(&client.response(false).await.unwrap());
    for path in [young, foreign] {
        fs::remove_file(path).unwrap();
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn every_disagreement_is_told_and_repaired_as_far_as_is_safe(database: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let service = Service::start_in(&database, folder, &[]).await;
    let mut files = Vec::new();
    for _ in 0..4 {
        files.push(service.store("a", "hello").await);
    }
    let [missing, longer, altered, whole] = files.try_into().unwrap();
    let content_of = |file: &crate::rig::File| folder.join("content").join(file.id.to_string());
    // It would sweep some of it.
    service.end().await;
    fs::remove_file(content_of(&missing)).unwrap();
    fs::write(content_of(&longer), "hello!").unwrap();
    fs::write(content_of(&altered), "hallo").unwrap();
    let id = Uuid::now_v7();
    let orphan = leave(folder.join("content").join(id.to_string()));
    let leftover = leave(folder.join("staging/0123456789abcdef"));

    let told = |repaired: [&str; 2]| {
        let [removed, moved] = repaired;
        let mut lines = vec![
            format!("missing {}: the record has no content", missing.id),
            format!("size {}: the record says 5 bytes, the content has 6{moved}", longer.id),
            format!("digest {}: the content has another SHA-256{moved}", altered.id),
            format!("orphan {id}: the content has no record{removed}"),
            format!("leftover 0123456789abcdef: staged, and no upload has it{removed}"),
        ];
        lines.sort();
        lines
    };
    // Telling changes nothing.
    for _ in 0..2 {
        let (lines, summary) = fsck(&database, folder, CHECK).await;
        assert_eq!(lines, told(["", ""]));
        assert!((summary.records, summary.found) == (4, 5) && !summary.is_clean(), "{summary}");
    }
    let (lines, summary) = fsck(&database, folder, QUICK).await;
    assert_eq!((lines.len(), summary.found), (4, 4), "all but the digest");
    assert!(orphan.exists() && leftover.exists());

    let (lines, summary) = fsck(&database, folder, REPAIR).await;
    assert_eq!(lines, told([" (removed)", " (content moved to quarantine)"]));
    assert_eq!((summary.removed, summary.quarantined), (2, 2));
    assert!(!summary.is_clean() && !orphan.exists() && !leftover.exists());

    let service = Service::start_in(&database, folder, &[]).await;
    // All records are there; those whose content was moved say so, ranges too.
    assert_eq!(service.records().await.len(), 4);
    assert_eq!(service.ask(Request::get(&whole.content)).await.text(), "hello");
    for file in [&missing, &longer, &altered] {
        let one = Request::get(&file.content).field("range", "bytes=0-0");
        problem(&service.ask(one).await, 500, "internal");
    }
    let kept = fs::read_dir(folder.join("quarantine")).unwrap();
    let mut kept: Vec<_> =
        kept.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    kept.sort();
    assert_eq!(kept, ["hallo", "hello!"]);

    // What an operator does next: put the content back, or delete the file.
    fs::write(content_of(&altered), "hello").unwrap();
    for file in [&missing, &longer] {
        assert_eq!(service.ask(Request::delete(&file.record)).await.status, 204);
    }
    let (lines, summary) = fsck(&database, folder, CHECK).await;
    assert!(lines.is_empty() && summary.is_clean(), "{lines:?}");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn nothing_is_left_out_however_much_there_is(database: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // It would sweep them: it only makes the folder.
    Service::start_in(&database, folder, &[]).await.end().await;
    rows::plant(&database, 600, "lost", "b").await;
    for _ in 0..600 {
        leave(folder.join("content").join(Uuid::now_v7().to_string()));
        leave(folder.join("staging").join(Uuid::now_v7().simple().to_string()));
    }
    let (mut lines, summary) = fsck(&database, folder, REPAIR).await;
    lines.dedup();
    assert_eq!((lines.len(), summary.found, summary.removed), (1800, 1800, 1200));
    let (_, summary) = fsck(&database, folder, CHECK).await;
    assert_eq!((summary.records, summary.found), (600, 600));
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_can_not_be_repaired_is_told_and_the_rest_is(database: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let service = Service::start_in(&database, folder, &[]).await;
    let damaged = service.store("a", "hello").await;
    fs::write(service.content_of(&damaged), "hello!").unwrap();
    service.end().await;
    // Nothing can be moved to what is no folder.
    fs::write(folder.join("quarantine"), "").unwrap();
    let content = |id: Uuid| folder.join("content").join(id.to_string());
    // In whatever order they are found: some come before some.
    let stuck: Vec<_> = (0..8).map(|_| Uuid::now_v7()).collect();
    let mut folders: Vec<_> = stuck.iter().copied().map(content).collect();
    folders.push(folder.join("staging/stuck"));
    for path in folders {
        fs::create_dir(&path).unwrap();
        let old = SystemTime::now() - Duration::from_secs(2 * 3600);
        File::open(path).unwrap().set_modified(old).unwrap();
    }
    for _ in 0..300 {
        leave(content(Uuid::now_v7()));
        leave(folder.join("staging").join(Uuid::now_v7().simple().to_string()));
    }
    let (lines, summary) = fsck(&database, folder, REPAIR).await;
    assert_eq!((summary.found, summary.removed, summary.quarantined), (610, 600, 0));
    assert!(!summary.is_clean());
    let left = |line: &str| lines.iter().any(|told| told.starts_with(line));
    for id in stuck {
        assert!(left(&format!("orphan {id}: the content has no record (could not be repaired: ")));
    }
    let id = damaged.id;
    assert!(left("leftover stuck: staged, and no upload has it (could not be repaired: "));
    assert!(left(&format!("size {id}: the record says 5 bytes, the content has 6 (could not ")));
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn content_whose_delete_is_under_way_is_no_orphan(database: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    Service::start_in(&database, folder, &[]).await.end().await;
    // The record is gone, and the disk takes its time.
    let content = leave(folder.join("content").join(Uuid::now_v7().to_string()));
    let deleting = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        fs::remove_file(content).unwrap();
    };
    let ((lines, _), ()) = tokio::join!(fsck(&database, folder, CHECK), deleting);
    assert!(lines.is_empty(), "{lines:?}");
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn beside_a_service_at_work_nothing_is_found(database: PgPool) {
    let flags = ["--rate-limit-burst", "1000000", "--rate-limit-period", "1us"];
    let service = Service::start(&database, &flags).await;
    let done = AtomicBool::new(false);
    let working = async || {
        let mut count = 0;
        while !done.load(Ordering::Relaxed) {
            let mut files = Vec::new();
            for _ in 0..20 {
                let file = service.store("a", "hello").await;
                // No longer young: only the order of the steps tells.
                age(&service.content_of(&file));
                files.push(file);
            }
            for file in files {
                assert_eq!(service.ask(Request::delete(&file.record)).await.status, 204);
                count += 1;
            }
        }
        count
    };
    let checking = async {
        for _ in 0..8 {
            let (lines, summary) = fsck(&database, service.folder(), REPAIR).await;
            assert!(lines.is_empty() && summary.is_clean(), "{lines:?}");
        }
        done.store(true, Ordering::Relaxed);
    };
    let (one, two, three, four, ()) =
        tokio::join!(working(), working(), working(), working(), checking);
    assert!(one + two + three + four > 50, "too little happened");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_folder_that_is_not_this_databases_is_refused(database: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let config = Service::config(&database, folder.path(), &[]);
    let refused = run(&config, REPAIR, &mut Vec::new()).await.unwrap_err();
    assert!(refused.to_string().contains("no content folder"), "{refused:#}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is created");

    let service = Service::start_in(&database, folder.path(), &[]).await;
    let content = service.content_of(&service.store("a", "hello").await);
    age(&content);
    service.end().await;
    sqlx::query("UPDATE identity SET id = gen_random_uuid()").execute(&database).await.unwrap();
    sqlx::query("TRUNCATE files CASCADE").execute(&database).await.unwrap();
    let refused = run(&config, REPAIR, &mut Vec::new()).await.unwrap_err();
    assert!(refused.to_string().contains("belongs to another database"), "{refused:#}");
    assert!(content.exists());
}
