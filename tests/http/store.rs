//! A store that fails: no space, no folder. Nothing of it is left behind.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use sqlx::PgPool;
use tests::Request;

use crate::rig::{Service, content, problem};

const POST: &str = "/v1/files?name=a";

/// So that the disk is full first.
const LARGE_QUOTA: [&str; 2] = ["--content-quota", "1GiB"];

/// A file system of 256 KiB. Dropping it unmounts it.
struct Tiny(tempfile::TempDir);

impl Tiny {
    /// None where this can't be had, which is said: not on Linux, or not as root.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=256k", "tmpfs"];
        let mounted = Command::new("mount").args(mount).arg(folder.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        // Not by eprintln, of which the test harness shows nothing on success.
        let skipped = b"skipped: a tiny file system takes Linux, and root\n";
        std::io::stderr().write_all(skipped).unwrap();
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        // Lazily: a test that fails may have files open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_full_disk_is_told_and_keeps_nothing(database: PgPool) {
    let Some(tiny) = Tiny::mount() else {
        return;
    };
    let service = Service::start_in(&database, tiny.path(), &LARGE_QUOTA).await;
    let file = service.store("a", content(100_000)).await;
    for size in [200_000, 1 << 20] {
        problem(&service.ask(Request::post(POST, content(size))).await, 507, "storage-full");
        let chunked = Request::chunked(POST, content(size).chunks(10_000));
        problem(&service.ask(chunked).await, 507, "storage-full");
        service.at_rest().await;
    }
    // What was there stays, and what still fits is taken.
    assert!(service.ask(Request::get(&file.content)).await.body == content(100_000));
    service.store("a", content(50_000)).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_client_that_is_still_sending_sees_that_the_disk_is_full(database: PgPool) {
    let Some(tiny) = Tiny::mount() else {
        return;
    };
    let service = Service::start_in(&database, tiny.path(), &LARGE_QUOTA).await;
    let mut client = service.client().await;
    let sent = client.request(&Request::post(POST, content(32 << 20))).await;
    assert!(sent.is_err(), "all was taken");
    problem(&client.response(false).await.unwrap(), 507, "storage-full");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn without_a_setting_a_tenth_of_the_file_system_is_left_to_others(database: PgPool) {
    let Some(tiny) = Tiny::mount() else {
        return;
    };
    let service = Service::start_in(&database, tiny.path(), &[]).await;
    assert_eq!(service.app.store.quota().limit(), (256 << 10) * 9 / 10);
    problem(&service.ask(Request::post(POST, content(240_000))).await, 507, "quota-exceeded");
    service.store("a", content(230_000)).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn without_a_folder_to_stage_in_an_upload_fails(database: PgPool) {
    let service = Service::start(&database, &["--max-uploads", "1"]).await;
    service.lose_staging().await;
    problem(&service.ask(Request::post(POST, "hello")).await, 500, "internal");
    problem(&service.ask(Request::post(POST, "hello")).await, 500, "internal");
    service.return_staging();
    service.store("a", "hello").await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn without_a_folder_to_publish_in_nothing_is_kept(database: PgPool) {
    let service = Service::start(&database, &["--max-uploads", "1"]).await;
    let content = service.staging().with_file_name("content");
    fs::remove_dir(&content).unwrap();
    problem(&service.ask(Request::post(POST, "hello")).await, 500, "internal");
    service.at_rest().await;
    fs::create_dir(&content).unwrap();
    service.store("a", "hello").await;
    service.end().await;
}
