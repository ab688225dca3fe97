//! Range requests (RFC 9110, section 14), compared to the byte.

use sqlx::PgPool;
use tests::Request;

use crate::rig::{File, Service, content, problem};

async fn ask(service: &Service, file: &File, range: &str) -> tests::Response {
    service.ask(Request::get(&file.content).field("range", range)).await
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn one_range_gets_its_bytes_and_no_others(database: PgPool) {
    let service = Service::start(&database, &["--download-chunk", "8KiB"]).await;
    let all = content(50_000);
    let file = service.store("a", all.clone()).await;
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-49999", 0, 49_999),
        ("bytes=0-", 0, 49_999),
        ("bytes=49999-", 49_999, 49_999),
        ("bytes=49999-49999", 49_999, 49_999),
        ("bytes=-1", 49_999, 49_999),
        ("bytes=-50000", 0, 49_999),
        ("bytes=-99999", 0, 49_999),
        ("bytes=100-199", 100, 199),
        ("bytes=8191-8192", 8191, 8192),
        ("bytes=8192-16383", 8192, 16_383),
        ("bytes=1-16384", 1, 16_384),
        ("bytes=40000-99999", 40_000, 49_999),
        ("bytes=0-18446744073709551615", 0, 49_999),
        ("Bytes=5-9", 5, 9),
    ] {
        let got = ask(&service, &file, range).await;
        assert_eq!(got.status, 206, "{range}");
        let content_range = format!("bytes {first}-{last}/50000");
        assert_eq!(got.field("content-range"), Some(content_range.as_str()), "{range}");
        assert_eq!(got.field("content-length"), Some((last - first + 1).to_string().as_str()));
        assert_eq!(got.field("etag"), Some(file.etag.as_str()));
        assert!(got.body == all[first..=last], "{range}");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_range_outside_of_the_content_is_refused(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let (file, empty) = (service.store("a", "hello").await, service.store("b", "").await);
    for (file, range, size) in [
        (&file, "bytes=5-", 5),
        (&file, "bytes=5-9", 5),
        (&file, "bytes=-0", 5),
        (&file, "bytes=18446744073709551615-", 5),
        (&file, "bytes=99999999999999999999-", 5),
        (&empty, "bytes=0-", 0),
        (&empty, "bytes=0-0", 0),
    ] {
        let got = ask(&service, file, range).await;
        problem(&got, 416, "range-not-satisfiable");
        let content_range = format!("bytes */{size}");
        assert_eq!(got.field("content-range"), Some(content_range.as_str()), "{range}");
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_is_no_range_or_several_gets_the_whole(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    for range in [
        "bytes=0-0,2-3",
        "bytes=0-0, -1",
        "bytes=3-2",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=0-1x",
        "bytes 0-1",
        "lines=0-1",
        "0-1",
        "",
    ] {
        let got = ask(&service, &file, range).await;
        assert_eq!((got.status, got.text().as_str()), (200, "hello"), "{range}");
        assert_eq!(got.field("content-range"), None, "{range}");
    }
    let twice = Request::get(&file.content).field("range", "bytes=0-0").field("range", "bytes=1-1");
    assert_eq!(service.ask(twice).await.text(), "hello");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn many_ranges_cost_no_more_than_the_whole(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let ranges = format!("bytes={}", vec!["0-"; 1000].join(","));
    assert_eq!(ask(&service, &file, &ranges).await.text(), "hello");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn empty_content_is_whole_or_nothing(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "").await;
    let got = service.ask(Request::get(&file.content)).await;
    assert_eq!(
        (got.status, got.field("content-length"), got.text().as_str()),
        (200, Some("0"), "")
    );
    // RFC 9110, 14.1.2: a suffix of a positive length can be met by nothing.
    let suffix = ask(&service, &file, "bytes=-1").await;
    assert!(matches!(suffix.status, 200 | 416), "{}", suffix.status);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_range_holds_only_for_the_representation_it_names(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    let whole = service.ask(Request::head(&file.content)).await;
    let date = whole.field("last-modified").unwrap();
    let (weak, etag) = (format!("W/{}", file.etag), file.etag.clone());
    for (if_range, status) in [
        (etag.as_str(), 206),
        (date, 206),
        (&weak, 200),
        ("\"other\"", 200),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 200),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 200),
        ("", 200),
        ("*", 200),
    ] {
        let request = Request::get(&file.content).field("range", "bytes=1-2");
        let got = service.ask(request.field("if-range", if_range)).await;
        let text = if status == 206 { "el" } else { "hello" };
        assert_eq!((got.status, got.text().as_str()), (status, text), "{if_range}");
    }
    // Where the range does not hold, it can't lie outside either.
    let outside = Request::get(&file.content).field("range", "bytes=9-").field("if-range", "\"x\"");
    assert_eq!(service.ask(outside).await.text(), "hello");
    let alone = Request::get(&file.content).field("if-range", etag);
    assert_eq!(service.ask(alone).await.status, 200);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_range_is_for_get_alone(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    for range in ["bytes=0-0", "bytes=9-"] {
        let head = service.ask(Request::head(&file.content).field("range", range)).await;
        assert_eq!((head.status, head.field("content-length")), (200, Some("5")), "{range}");
        assert_eq!(head.field("content-range"), None);
    }
    let record = service.ask(Request::get(&file.record).field("range", "bytes=0-0")).await;
    assert_eq!(record.status, 200);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_range_that_is_oddly_written_gets_its_bytes_or_the_whole(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let file = service.store("a", "hello").await;
    for range in [
        "bytes= 1-2",
        "bytes=1-2 ",
        "bytes=1 - 2",
        "bytes =1-2",
        "bytes=1-2,",
        "bytes=,1-2",
        "bytes=01-02",
        "bytes=+1-+2",
        "bytes=1-2-3",
        "bytes=--2",
        "bytes=1-2;q=1",
        "bytes=0x1-0x2",
    ] {
        let got = ask(&service, &file, range).await;
        let text = if got.status == 206 { "el" } else { "hello" };
        assert!(matches!(got.status, 200 | 206), "{range}: {}", got.status);
        assert_eq!(got.text(), text, "{range}");
        assert_eq!(got.field("content-range").is_some(), got.status == 206, "{range}");
    }
    service.end().await;
}
