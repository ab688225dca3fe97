//! `GET /v1/files/export`: every record, however slowly it is read.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::PgPool;
use tests::{Client, Request};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::rig::wire::Wire;
use crate::rig::{Service, eventually, problem, rows};

const EXPORT: &str = "/v1/files/export";
const CSV: [&str; 7] = ["id", "name", "content_type", "size", "sha256", "created_at", "updated_at"];

/// Begins an export, and leaves it where it is.
async fn begin(service: &Service, request: &Request) -> Client {
    let mut client = Client::connect_narrow(service.address, 16 << 10).await.unwrap();
    client.request(request).await.unwrap();
    client
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn both_forms_read_back_as_the_records(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for name in ["a", "%22quoted%22,%20and%20more", "%E6%96%87.txt", "it's;\u{7c}", "%20x%20"] {
        service.store(name, name).await;
    }
    let list = service.ask(Request::get("/v1/files")).await;
    let list: Value = serde_json::from_slice(&list.body).unwrap();
    let records = list["files"].as_array().unwrap();

    let got = service.ask(Request::get(EXPORT)).await;
    assert_eq!((got.status, got.field("content-type")), (200, Some("application/x-ndjson")));
    assert_eq!(got.field("content-disposition"), Some("attachment; filename=\"files.ndjson\""));
    assert_eq!(got.field("vary"), Some("accept"));
    assert!(got.text().ends_with('\n'));
    let lines: Vec<Value> =
        got.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(&lines, records);

    let got = service.ask(Request::get(EXPORT).field("accept", "text/csv")).await;
    assert!(got.field("content-type").unwrap().starts_with("text/csv; charset=utf-8"));
    assert_eq!(got.field("content-disposition"), Some("attachment; filename=\"files.csv\""));
    let mut reader = csv::Reader::from_reader(&got.body[..]);
    assert_eq!(reader.headers().unwrap(), &CSV[..]);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), records.len());
    for (row, record) in rows.iter().zip(records) {
        for (cell, column) in row.iter().zip(CSV) {
            let member = &record[column];
            let text = member.as_str().map_or_else(|| member.to_string(), str::to_owned);
            assert_eq!(cell, text, "{column}");
        }
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn no_cell_is_run_by_a_spreadsheet(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let names = ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|'/C calc'!A0", "=\"x\",1"];
    for name in names {
        let insert = "INSERT INTO files (id, name, content_type, size, sha256)
                      VALUES (gen_random_uuid(), $1, $1, 1, sha256('x'))";
        sqlx::query(insert).bind(name).execute(&database).await.unwrap();
    }
    let got = service.ask(Request::get(EXPORT).field("accept", "text/csv")).await;
    let mut reader = csv::Reader::from_reader(&got.body[..]);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert!(rows.iter().flatten().all(|cell| !cell.starts_with(['=', '+', '-', '@'])), "{rows:?}");
    let cells: BTreeSet<&str> = rows.iter().map(|row| &row[1]).collect();
    let harmless: Vec<String> = names.iter().map(|name| format!("'{name}")).collect();
    assert_eq!(cells, harmless.iter().map(String::as_str).collect());
    rows::clear(&database).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn the_form_is_the_one_that_the_client_likes(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for (accept, form) in [
        ("*/*", "application/x-ndjson"),
        ("application/*", "application/x-ndjson"),
        ("text/*", "text/csv"),
        ("text/csv", "text/csv"),
        ("TEXT/CSV", "text/csv"),
        ("text/csv;q=0.1, application/x-ndjson;q=0.9", "application/x-ndjson"),
        ("text/html, text/csv;q=0.5, */*;q=0.1", "text/csv"),
        // Parameters that it does have.
        ("text/csv; charset=utf-8", "text/csv"),
        ("text/csv;CHARSET=\"UTF-8\";header=present;q=0.5, image/png", "text/csv"),
        // What can't be read is passed over.
        ("application/x-ndjson, garbage", "application/x-ndjson"),
        ("garbage, \"a,b\", text/csv, naïve/type", "text/csv"),
    ] {
        let got = service.ask(Request::get(EXPORT).field("accept", accept)).await;
        assert_eq!(got.status, 200, "{accept}");
        assert!(got.field("content-type").unwrap().starts_with(form), "{accept}");
        let head = service.ask(Request::head(EXPORT).field("accept", accept)).await;
        assert_eq!((head.status, head.field("content-type")), (200, got.field("content-type")));
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_form_that_is_not_there_is_told(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for accept in
        ["application/json", "image/png", "text/csv;q=0", "nonsense", "text/csv;charset=latin1"]
    {
        let answer = service.ask(Request::get(EXPORT).field("accept", accept)).await;
        let detail = problem(&answer, 406, "not-acceptable");
        assert!(detail.contains("text/csv") && detail.contains("application/x-ndjson"));
    }
    service.end().await;
}

/// Others use the pool while exports stand still; then one is read to its end.
async fn others_go_on(database: &PgPool, flags: &[&str], export: Request) -> Vec<u8> {
    let service = Service::start(database, flags).await;
    rows::plant(database, 100_000, "a", "text/plain").await;
    let file = service.store("b", "hello").await;
    let mut readers = Vec::new();
    let free = service.app.pages.available_permits();
    for _ in 0..4 {
        readers.push(begin(&service, &export).await);
    }
    eventually("all have begun", async || service.app.pages.available_permits() == free - 4).await;
    for _ in 0..20 {
        let stats = format!("{}/stats", file.record);
        for target in ["/v1/files?limit=100", &stats, &file.content] {
            let got = service.ask(Request::get(target)).await;
            assert_eq!(got.status, 200, "{target}: {}", got.text());
        }
    }
    let mut reader = readers.pop().unwrap();
    drop(readers);
    let got = reader.response(false).await.unwrap();
    assert_eq!(got.status, 200);
    rows::clear(database).await;
    std::fs::remove_file(service.content_of(&file)).unwrap();
    service.end().await;
    got.body
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_slow_reader_of_many_records_holds_no_database_connection(database: PgPool) {
    let flags = ["--pool-connections", "2", "--pool-timeout", "1s"];
    let body = others_go_on(&database, &flags, Request::get(EXPORT)).await;
    let text = String::from_utf8(body).unwrap();
    let ids: BTreeSet<&str> = text.lines().map(|line| &line[7..43]).collect();
    assert_eq!((ids.len(), text.lines().count()), (100_001, 100_001));
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_slow_reader_of_gzip_holds_no_database_connection_either(database: PgPool) {
    let flags = ["--pool-connections", "1", "--pool-timeout", "1s"];
    let export = Request::get(EXPORT).field("accept-encoding", "gzip");
    let body = others_go_on(&database, &flags, export).await;
    let text = std::io::read_to_string(flate2::read::GzDecoder::new(&body[..])).unwrap();
    assert_eq!(text.lines().count(), 100_001);
}

/// Reads at 10 KB/s until told to stop; how much came.
async fn read_slowly(mut client: Client, stop: CancellationToken) -> usize {
    let mut count = 0;
    while !stop.is_cancelled() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        count += client.read(1_000).await.unwrap().len();
    }
    count
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn exports_hold_database_connections_for_a_small_part_of_their_time(database: PgPool) {
    let service = Service::start(&database, &["--pool-connections", "4"]).await;
    rows::plant(&database, 100_000, "a", "text/plain").await;
    let (stop, readers) = (CancellationToken::new(), TaskTracker::new());
    let mut exports = Vec::new();
    for _ in 0..10 {
        let client = begin(&service, &Request::get(EXPORT)).await;
        exports.push(readers.spawn(read_slowly(client, stop.clone())));
    }
    // Between the samples, others ask: while one is taken, only exports have connections.
    let (mut client, mut took, mut held) = (service.client().await, Vec::new(), Vec::new());
    while took.len() < 1_000 {
        let begin = Instant::now();
        let got = client.exchange(&Request::get("/v1/files?limit=1")).await.unwrap();
        assert_eq!(got.status, 200, "{}", got.text());
        took.push(begin.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
        held.push(service.app.pool.size() as usize - service.app.pool.num_idle());
    }
    stop.cancel();
    let mut read = Vec::new();
    for export in exports {
        read.push(export.await.unwrap());
    }
    took.sort_unstable();
    let sum: usize = held.iter().sum();
    println!(
        "others: median {:?}, p99 {:?}; connections held by exports, of 4: mean {:.3}, most {}; \
         each has read {read:?} bytes",
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        sum as f64 / held.len() as f64,
        held.iter().max().unwrap(),
    );
    // Ten that held theirs while the client reads would have all four at all times.
    assert!(sum < held.len(), "{held:?}");
    assert!(read.iter().all(|read| *read > 32 << 10), "they did not come to a second page");
    rows::clear(&database).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_fast_export_gives_others_their_turn(database: PgPool) {
    let flags = ["--pool-connections", "1", "--pool-timeout", "20s"];
    let service = Service::start(&database, &flags).await;
    rows::plant(&database, 100_000, "a", "text/plain").await;
    let (mut reader, mut other) = (service.client().await, service.client().await);
    let export = Request::get(EXPORT);
    let mut export = pin!(reader.exchange(&export));
    let list = Request::get("/v1/files?limit=1");
    let mut answered = 0;
    let exported = loop {
        tokio::select! {
            exported = &mut export => break exported.unwrap(),
            got = other.exchange(&list) => {
                assert_eq!(got.unwrap().status, 200);
                answered += 1;
            }
        }
    };
    // There are 55 turns and more; with all that a number of 16 bits can ask for, 2.
    assert!(answered >= 20, "{answered} in all the time");
    assert_eq!(exported.text().lines().count(), 100_000);
    rows::clear(&database).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn without_its_database_an_export_breaks_off(database: PgPool) {
    let mut wire = Wire::to(&database).await;
    let flags = ["--database-url", wire.url(), "--pool-timeout", "500ms"];
    let service = Service::start(&database, &flags).await;
    rows::plant(&database, 20_000, "a", "text/plain").await;
    for coding in ["identity", "gzip"] {
        let export = Request::get(EXPORT).field("accept-encoding", coding);
        let mut client = begin(&service, &export).await;
        assert_eq!(client.head().await.unwrap().status, 200);
        wire.cut().await;
        let got = client.end().await.unwrap();
        assert!(!got.is_empty());
        assert!(!got.ends_with(b"\r\n0\r\n\r\n"), "it seems to be whole");
        problem(&service.ask(Request::get(EXPORT)).await, 503, "unavailable");
        wire.mend().await;
        assert_eq!(service.ask(Request::get("/v1/files")).await.status, 200);
    }
    rows::clear(&database).await;
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn one_export_too_many_is_refused_and_the_place_comes_back(database: PgPool) {
    let service = Service::start(&database, &["--max-pages", "1"]).await;
    rows::plant(&database, 20_000, "a", "text/plain").await;
    let export = begin(&service, &Request::get(EXPORT)).await;
    eventually("it has begun", async || service.app.pages.available_permits() == 0).await;
    for target in [EXPORT, "/v1/files"] {
        problem(&service.ask(Request::get(target)).await, 503, "busy");
    }
    drop(export);
    eventually("the place is free", async || service.app.pages.available_permits() == 1).await;
    assert_eq!(service.ask(Request::get("/v1/files")).await.status, 200);
    rows::clear(&database).await;
    service.end().await;
}
