//! Clients that leave without a word.

use server::Outcome;
use sqlx::PgPool;
use tests::message::chunk;
use tests::{Client, Request};

use crate::rig::{Service, content, eventually};

const POST: &str = "/v1/files?name=a";
const SIZE: usize = 1 << 20;
const CHUNK: usize = 8 << 10;

/// How a client leaves.
const WAYS: [fn(Client); 2] = [drop, |client| client.reset().unwrap()];

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn an_aborted_upload_leaves_nothing_behind(database: PgPool) {
    let flags = ["--upload-chunk", "8KiB", "--max-uploads", "1"];
    let service = Service::start(&database, &flags).await;
    let all = content(SIZE);
    for percent in [10, 50, 99] {
        let sent = &all[..SIZE * percent / 100];
        let whole_chunks = (sent.len() / CHUNK * CHUNK) as u64;
        for leave in WAYS {
            for post in [
                Request::post(POST, &all[..]).body(sent),
                Request::chunked(POST, []).body(chunk(sent)),
            ] {
                let mut client = service.client().await;
                client.request(&post).await.unwrap();
                eventually("it has come", async || service.staged_bytes() == whole_chunks).await;
                leave(client);
                service.at_rest().await;
            }
        }
        assert!(service.contents().is_empty(), "at {percent} %");
    }
    service.store("a", "the place is free").await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_client_that_leaves_before_its_body_leaves_nothing_behind(database: PgPool) {
    let service = Service::start(&database, &["--max-uploads", "1"]).await;
    for leave in WAYS {
        let mut client = service.client().await;
        client.request(&Request::post(POST, "hello").body("")).await.unwrap();
        eventually("it is in flight", async || service.staged() == 1).await;
        leave(client);
        service.at_rest().await;

        let mut client = service.client().await;
        client.send(format!("POST {POST} HTTP/1.1\r\nhost: ")).await.unwrap();
        leave(client);
        eventually("it is gone", async || service.connections.open() == 0).await;
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn who_leaves_before_the_answer_leaves_a_whole_file_or_none(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for leave in WAYS {
        for size in [0, 1, 10_000, 100_000, 300_000] {
            let mut client = service.client().await;
            client.request(&Request::post(POST, content(size))).await.unwrap();
            leave(client);
        }
    }
    eventually("all are gone", async || service.connections.open() == 0).await;
    // Some may still be publishing; content is compared with records.
    service.end_with(Outcome::Drained).await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn who_leaves_between_content_and_record_changes_nothing(database: PgPool) {
    let service = Service::start(&database, &["--pool-connections", "1"]).await;
    let free = service.free_uploads();
    for (made, leave) in WAYS.into_iter().enumerate() {
        let held = service.app.pool.acquire().await.unwrap();
        let mut client = service.client().await;
        client.request(&Request::post(POST, "hello")).await.unwrap();
        eventually("content is in place", async || service.contents().len() > made).await;
        leave(client);
        eventually("it is gone", async || service.connections.open() == 0).await;
        assert_eq!(service.records().await.len(), made);
        // Who left must not make room for one more that waits for the database.
        assert_eq!(service.free_uploads(), free - 1);
        drop(held);
        eventually("it is recorded", async || service.records().await.len() == made + 1).await;
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_download_whose_client_leaves_gives_its_place_back(database: PgPool) {
    let service = Service::start(&database, &["--max-downloads", "1"]).await;
    let file = service.plant(&content(8 << 20)).await;
    for leave in WAYS {
        for read in [0, 100_000] {
            let mut client = Client::connect_narrow(service.address, 16 << 10).await.unwrap();
            client.request(&Request::get(&file.content)).await.unwrap();
            assert_eq!(client.head().await.unwrap().status, 200);
            client.read(read).await.unwrap();
            assert_eq!(service.free_downloads(), 0);
            leave(client);
            service.at_rest().await;
        }
    }
    service.end().await;
}
