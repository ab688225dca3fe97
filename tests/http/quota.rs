//! The quota on disk: never more than it, and it comes back.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use handler::sweep::{Swept, sweep};
use sqlx::PgPool;
use streaming::quota::FILE_OVERHEAD;
use tests::Request;
use tests::message::chunk;
use tokio_util::task::TaskTracker;

use crate::rig::{File, Service, content, eventually, problem};

const POST: &str = "/v1/files?name=a";
const CHUNKED: usize = 10_000;
/// What a file takes beside its content.
const FILE: usize = 4096;
const _: () = assert!(FILE as u64 == FILE_OVERHEAD);
/// A quota of 100,000 bytes; a buffer that is smaller than what is sent.
const FLAGS: [&str; 4] = ["--content-quota", "100000B", "--upload-chunk", "8KiB"];

fn chunked(size: usize) -> Request {
    Request::chunked(POST, content(size).chunks(CHUNKED))
}

/// What both folders hold, as the file system has it.
fn on_disk(service: &Service) -> u64 {
    let folders = [service.staging().with_file_name("content"), service.staging()];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    // One may be gone by the time that it is looked at.
    let sizes = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
    sizes.map(|size| size + FILE_OVERHEAD).sum()
}

/// Fails unless what is counted is what is there.
async fn assert_counted(service: &Service, bytes: u64) {
    service.at_rest().await;
    assert_eq!((service.app.store.quota().used(), on_disk(service)), (bytes, bytes));
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_does_not_fit_is_told_and_what_fits_to_the_byte_is_taken(database: PgPool) {
    let service = Service::start(&database, &FLAGS).await;
    let first = service.store("a", content(60_000 - FILE)).await;
    // Before the body, where its length is known: hyper would ask for it.
    let announced =
        Request::post(POST, content(40_001 - FILE)).field("expect", "100-continue").body("");
    let mut client = service.client().await;
    client.request(&announced).await.unwrap();
    let refused = client.response(false).await.unwrap();
    let detail = problem(&refused, 507, "quota-exceeded");
    assert!(detail.contains("40000 of 100000 bytes are left"), "{detail}");
    // In its course, where it is not; also to a client that is still sending.
    for size in [40_001 - FILE, 8 << 20] {
        let detail = problem(&service.ask(chunked(size)).await, 507, "quota-exceeded");
        assert!(detail.contains("40000 of 100000 bytes are left"), "{detail}");
    }
    assert_counted(&service, 60_000).await;

    File::of(&service.ask(chunked(40_000 - FILE)).await);
    problem(&service.ask(Request::post(POST, "x")).await, 507, "quota-exceeded");
    problem(&service.ask(Request::post(POST, "")).await, 507, "quota-exceeded");
    assert_counted(&service, 100_000).await;
    // What is there can be read, and makes room when it goes.
    assert!(service.ask(Request::get(&first.content)).await.body == content(60_000 - FILE));
    assert_eq!(service.ask(Request::delete(&first.record)).await.status, 204);
    assert_counted(&service, 40_000).await;
    service.store("a", content(60_000 - FILE)).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn uploads_at_once_never_pass_it_and_some_are_stored(database: PgPool) {
    const QUOTA: u64 = 1 << 20;
    const SIZE: usize = 300_000;
    let flags = ["--content-quota", "1MiB", "--upload-chunk", "8KiB"];
    let service = Service::start(&database, &flags).await;
    let done = AtomicBool::new(false);
    let watching = async {
        let mut most = 0;
        while !done.load(Ordering::Relaxed) {
            most = most.max(on_disk(&service));
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        most
    };
    let uploading = async {
        let uploads = TaskTracker::new();
        let tasks: Vec<_> = (0..12)
            .map(|index| {
                let address = service.address;
                // In both ways: with a length, and without.
                let post =
                    if index % 2 == 0 { Request::post(POST, content(SIZE)) } else { chunked(SIZE) };
                uploads.spawn(async move {
                    let mut client = tests::Client::connect(address).await.unwrap();
                    client.exchange(&post).await.unwrap()
                })
            })
            .collect();
        let mut stored = 0;
        for task in tasks {
            let answer = task.await.unwrap();
            if answer.status == 201 {
                stored += 1;
            } else {
                problem(&answer, 507, "quota-exceeded");
            }
        }
        done.store(true, Ordering::Relaxed);
        stored
    };
    let (most, stored) = tokio::join!(watching, uploading);
    assert!(most <= QUOTA, "{most} bytes were on disk");
    assert!((1..=3).contains(&stored), "{stored} were stored");
    assert_counted(&service, stored * (SIZE + FILE) as u64).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn an_upload_that_breaks_off_gives_back_what_it_had(database: PgPool) {
    let service = Service::start(&database, &FLAGS).await;
    for _ in 0..3 {
        let mut client = service.client().await;
        let sent = chunk(&content(60_000 - FILE));
        client.request(&Request::chunked(POST, []).body(sent)).await.unwrap();
        eventually("it counts", async || service.app.store.quota().used() == 60_000).await;
        problem(
            &service.ask(Request::post(POST, content(40_001 - FILE))).await,
            507,
            "quota-exceeded",
        );
        client.reset().unwrap();
        assert_counted(&service, 0).await;
    }
    // A digest that is wrong is found when all is there.
    let wrong = format!("sha-256=:{}=:", "A".repeat(43));
    let wrong = Request::post(POST, content(100_000 - FILE)).field("repr-digest", wrong);
    problem(&service.ask(wrong).await, 422, "digest-mismatch");
    assert_counted(&service, 0).await;
    service.store("a", content(100_000 - FILE)).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_form_that_passes_it_keeps_none_of_its_files(database: PgPool) {
    let service = Service::start(&database, &FLAGS).await;
    let form = |sizes: &[usize]| {
        let part = |size: &usize| {
            let head = "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\n";
            format!("{head}{}\r\n", "x".repeat(size - FILE))
        };
        let body = sizes.iter().map(part).collect::<String>() + "--XX--\r\n";
        Request::post("/v1/files", body).field("content-type", "multipart/form-data; boundary=XX")
    };
    let refused = service.ask(form(&[40_000, 40_000, 20_001])).await;
    problem(&refused, 507, "quota-exceeded");
    assert!(service.contents().is_empty() && service.records().await.is_empty());
    assert_counted(&service, 0).await;
    assert_eq!(service.ask(form(&[40_000, 40_000, 20_000])).await.status, 201);
    assert_counted(&service, 100_000).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_others_do_in_the_folder_is_counted_by_the_sweep(database: PgPool) {
    let service = Service::start(&database, &FLAGS).await;
    let file = service.store("a", content(60_000 - FILE)).await;
    // Another replica deletes one file, and stores two.
    let other = Service::start_in(&database, service.folder(), &FLAGS).await;
    assert_eq!(other.ask(Request::delete(&file.record)).await.status, 204);
    for _ in 0..2 {
        other.store("a", content(10_000 - FILE)).await;
    }
    sweep(&service.app, Duration::from_secs(3600)).await.unwrap();
    assert_counted(&service, 20_000).await;
    service.store("a", content(80_000 - FILE)).await;
    other.end().await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_start_counts_what_is_there_leftovers_of_a_crash_too(database: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_in(&database, folder.path(), &FLAGS).await;
    service.store("a", content(50_000 - FILE)).await;
    service.end().await;
    fs::write(folder.path().join("staging/left"), content(30_000 - FILE)).unwrap();

    let service = Service::start_in(&database, folder.path(), &FLAGS).await;
    assert_eq!(service.app.store.quota().used(), 80_000);
    problem(&service.ask(Request::post(POST, content(20_001 - FILE))).await, 507, "quota-exceeded");
    let swept = sweep(&service.app, Duration::ZERO).await.unwrap();
    assert_eq!(swept, Swept { staged: 1, content: 0 });
    assert_counted(&service, 50_000).await;
    service.store("a", content(50_000 - FILE)).await;
    service.end().await;

    // With a smaller quota what is there stays, and can be deleted.
    let flags = ["--content-quota", "10KiB"];
    let service = Service::start_in(&database, folder.path(), &flags).await;
    let detail = problem(&service.ask(Request::post(POST, "x")).await, 507, "quota-exceeded");
    assert!(detail.contains("0 of 10240 bytes are left"), "{detail}");
    for id in service.contents() {
        assert_eq!(service.ask(Request::delete(format!("/v1/files/{id}"))).await.status, 204);
    }
    service.store("a", "x").await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_file_takes_its_overhead_however_small_it_is(database: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let quota = format!("{}B", 10 * FILE);
    let flags = ["--content-quota", &quota];
    let service = Service::start_in(&database, folder.path(), &flags).await;
    let mut files = Vec::new();
    for _ in 0..10 {
        files.push(service.store("empty", "").await);
    }
    for content in ["", "x"] {
        for post in [Request::post(POST, content), Request::chunked(POST, [content.as_bytes()])] {
            problem(&service.ask(post).await, 507, "quota-exceeded");
        }
    }
    // As a sweep and a start count it too.
    sweep(&service.app, Duration::from_secs(3600)).await.unwrap();
    assert_counted(&service, 10 * FILE_OVERHEAD).await;
    service.end().await;
    let service = Service::start_in(&database, folder.path(), &flags).await;
    assert_counted(&service, 10 * FILE_OVERHEAD).await;
    for file in &files[..2] {
        assert_eq!(service.ask(Request::delete(&file.record)).await.status, 204);
    }
    service.store("a", "x".repeat(FILE)).await;
    assert_counted(&service, 10 * FILE_OVERHEAD).await;
    service.end().await;
}
