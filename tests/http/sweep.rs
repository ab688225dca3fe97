//! Sweep: leftovers of a crash go, and nothing else.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use handler::sweep::{Swept, sweep};
use sqlx::PgPool;
use streaming::quota::FILE_OVERHEAD;
use tests::Request;
use uuid::Uuid;

use crate::rig::{Service, content, eventually};

const HOUR: Duration = Duration::from_secs(3600);

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn leftovers_go_and_files_stay(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let folder = service.staging().with_file_name("content");
    // More than are looked up at a time.
    for _ in 0..300 {
        fs::write(folder.join(Uuid::now_v7().to_string()), "orphaned").unwrap();
    }
    for name in ["0123456789abcdef0123456789abcdef", "another"] {
        fs::write(service.staging().join(name), "left").unwrap();
    }
    assert_eq!(sweep(&service.app, HOUR).await.unwrap(), Swept::default(), "all is young");
    let swept = sweep(&service.app, Duration::ZERO).await.unwrap();
    assert_eq!(swept, Swept { staged: 2, content: 300 });
    assert_eq!(sweep(&service.app, Duration::ZERO).await.unwrap(), Swept::default());
    assert_eq!(service.ask(Request::get(&file.content)).await.text(), "hello");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_can_not_be_removed_is_passed_over(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let folder = service.staging().with_file_name("content");
    // In whatever order they are found: some come before some.
    let mut stuck = vec![service.staging().join("stuck")];
    stuck.extend((0..8).map(|_| folder.join(Uuid::now_v7().to_string())));
    for path in &stuck {
        fs::create_dir(path).unwrap();
    }
    for _ in 0..300 {
        fs::write(folder.join(Uuid::now_v7().to_string()), "orphaned").unwrap();
    }
    let swept = sweep(&service.app, Duration::ZERO).await.unwrap();
    assert_eq!(swept, Swept { staged: 0, content: 300 });
    assert_eq!(
        service.app.store.quota().used(),
        5 + FILE_OVERHEAD,
        "what is there is counted all the same"
    );
    assert!(stuck.iter().all(|path| path.exists()));
    assert_eq!(service.ask(Request::get(&file.content)).await.text(), "hello");
    for path in stuck {
        fs::remove_dir(path).unwrap();
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_live_upload_is_not_touched(database: PgPool) {
    let service = Service::start(&database, &["--upload-chunk", "8KiB"]).await;
    let mut client = service.client().await;
    let sent = content(10_000);
    let post = Request::post("/v1/files?name=a", &sent[..]).body(&sent[..9000]);
    client.request(&post).await.unwrap();
    eventually("some of it is staged", async || service.staged_bytes() >= 8192).await;
    // Not even where nothing was written for long: a slow client is no crash.
    assert_eq!(sweep(&service.app, Duration::ZERO).await.unwrap(), Swept::default());
    assert_eq!(service.staged(), 1);
    client.send(&sent[9000..]).await.unwrap();
    crate::rig::File::of(&client.response(false).await.unwrap());
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_folder_of_another_database_is_refused(database: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_in(&database, folder.path(), &[]).await;
    let file = service.store("a", "hello").await;
    let content = service.content_of(&file);
    service.end().await;
    sqlx::query("UPDATE identity SET id = gen_random_uuid()").execute(&database).await.unwrap();
    let refused = Service::build_in(&database, folder.path(), &[]).await.unwrap_err();
    assert!(refused.to_string().contains("belongs to another database"), "{refused:#}");
    assert!(content.exists());
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_start_sweeps_what_the_last_run_left(database: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let old = SystemTime::now() - 2 * HOUR;
    let leave = |name: &str, age| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(&path).unwrap().set_modified(age).unwrap();
        path
    };
    let staged = leave("staging/left", old);
    let orphaned = leave(&format!("content/{}", Uuid::now_v7()), old);
    let foreign = leave("content/README", old);
    let service = Service::start_in(&database, folder.path(), &[]).await;
    eventually("they are swept", async || !staged.exists() && !orphaned.exists()).await;
    assert!(foreign.exists(), "what is no content of ours is not ours to remove");
    fs::remove_file(foreign).unwrap();
    service.end().await;
}
