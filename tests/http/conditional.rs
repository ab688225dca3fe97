//! Conditional requests (RFC 9110, section 13): records and content alike.

use httpdate::parse_http_date;
use sqlx::PgPool;
use tests::{Request, Response};

use crate::rig::{File, Service, problem};

const PAST: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const FUTURE: &str = "Fri, 31 Dec 2100 23:59:59 GMT";

/// What a test asks for, its validators, and the two methods on it.
struct Target {
    path: String,
    etag: String,
    date: String,
}

impl Target {
    async fn all(service: &Service) -> [Self; 2] {
        let File { record, content, etag, .. } = service.store("a", "hello").await;
        let date =
            service.ask(Request::head(&content)).await.field("last-modified").unwrap().to_owned();
        let of_record = service.ask(Request::get(&record)).await.field("etag").unwrap().to_owned();
        let record = Self { path: record, etag: of_record, date: date.clone() };
        [record, Self { path: content, etag, date }]
    }

    async fn ask(&self, service: &Service, fields: &[(&str, &str)]) -> [Response; 2] {
        let with = |request| {
            fields
                .iter()
                .fold(request, |request: Request, (name, value)| request.field(name, value))
        };
        let get = service.ask(with(Request::get(&self.path))).await;
        [get, service.ask(with(Request::head(&self.path))).await]
    }
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_a_client_has_already_is_not_sent_again(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for target in Target::all(&service).await {
        let (weak, list) = (format!("W/{}", target.etag), format!("\"x\", {}", target.etag));
        for fields in [
            &[("if-none-match", target.etag.as_str())][..],
            &[("if-none-match", &weak)],
            &[("if-none-match", &list)],
            &[("if-none-match", "\"x\""), ("if-none-match", &target.etag)],
            &[("if-none-match", "*")],
            &[("if-modified-since", &target.date)],
            &[("if-modified-since", FUTURE)],
            &[("if-none-match", &target.etag), ("if-modified-since", PAST)],
            &[("if-match", &target.etag), ("if-none-match", &target.etag)],
            &[("if-none-match", &target.etag), ("range", "bytes=0-0")],
            &[("if-none-match", &target.etag), ("range", "bytes=99-")],
        ] {
            for answer in target.ask(&service, fields).await {
                assert_eq!(answer.status, 304, "{} {fields:?}", target.path);
                assert_eq!(answer.field("etag"), Some(target.etag.as_str()));
                for absent in
                    ["content-type", "content-length", "transfer-encoding", "content-range"]
                {
                    assert_eq!(answer.field(absent), None, "{absent} {fields:?}");
                }
            }
        }
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn what_a_client_does_not_have_is_sent(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for target in Target::all(&service).await {
        for fields in [
            &[("if-none-match", "\"x\"")][..],
            &[("if-none-match", "W/\"x\", \"y\"")],
            &[("if-modified-since", PAST)],
            &[("if-modified-since", "yesterday")],
            &[("if-none-match", "\"x\""), ("if-modified-since", FUTURE)],
            &[("if-match", "*")],
            &[("if-match", &target.etag)],
            &[("if-unmodified-since", &target.date)],
            &[("if-unmodified-since", "tomorrow")],
            &[("if-match", &target.etag), ("if-unmodified-since", PAST)],
        ] {
            let [get, head] = target.ask(&service, fields).await;
            assert_eq!((get.status, head.status), (200, 200), "{} {fields:?}", target.path);
            assert_eq!(get.field("etag"), Some(target.etag.as_str()));
            assert!(!get.body.is_empty() && head.body.is_empty());
        }
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_precondition_that_does_not_hold_is_told(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for target in Target::all(&service).await {
        let weak = format!("W/{}", target.etag);
        for fields in [
            &[("if-match", "\"x\"")][..],
            &[("if-match", &weak)],
            &[("if-match", "\"x\", \"y\"")],
            &[("if-unmodified-since", PAST)],
            &[("if-match", "\"x\""), ("if-none-match", &target.etag)],
            &[("if-match", "\"x\""), ("range", "bytes=99-")],
        ] {
            let [get, head] = target.ask(&service, fields).await;
            problem(&get, 412, "precondition-failed");
            assert_eq!((head.status, head.text().as_str()), (412, ""), "{fields:?}");
        }
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn an_if_match_that_cannot_be_read_holds_for_nothing(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for target in Target::all(&service).await {
        for value in ["x", "\"x", ""] {
            let [get, head] = target.ask(&service, &[("if-match", value)]).await;
            problem(&get, 412, "precondition-failed");
            assert_eq!(head.status, 412, "{value}");
        }
    }
    service.end().await;
}

/// Makes both times of a record those, before it is read for the first time.
async fn at(database: &PgPool, service: &Service, time: &str) -> File {
    let file = service.store("a", "hello").await;
    let update = "UPDATE files SET created_at = $1::text::timestamptz,
                                   updated_at = $1::text::timestamptz WHERE id = $2";
    sqlx::query(update).bind(time).bind(file.id).execute(database).await.unwrap();
    file
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn the_date_that_was_sent_holds_for_the_fraction_of_a_second_behind_it(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let date = "Thu, 01 Jan 2026 10:00:00 GMT";
    for time in ["2026-01-01 10:00:00.999999+00", "2026-01-01 13:30:00.000001+03:30"] {
        let file = at(&database, &service, time).await;
        for target in [&file.record, &file.content] {
            let asked = |name| Request::get(target).field(name, date);
            let got = service.ask(Request::get(target)).await;
            assert_eq!(got.field("last-modified"), Some(date), "{time}");
            assert_eq!(service.ask(asked("if-modified-since")).await.status, 304, "{time}");
            assert_eq!(service.ask(asked("if-unmodified-since")).await.status, 200, "{time}");
        }
        let range = Request::get(&file.content).field("range", "bytes=1-2");
        assert_eq!(service.ask(range.field("if-range", date)).await.status, 206, "{time}");
    }
    service.end().await;
}

/// RFC 9110, section 8.8.2.1. The database's clock may be ahead, or step back.
#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn nothing_was_modified_later_than_its_answer(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for time in ["2099-01-01 10:00:00+00", "9999-12-31 23:59:59.999999+00"] {
        let file = at(&database, &service, time).await;
        for request in [
            Request::get(&file.record),
            Request::get(&file.content),
            Request::get(&file.content).field("range", "bytes=1-2"),
            Request::get(&file.content).field("if-none-match", &file.etag),
            Request::patch(&file.record, "{\"name\":\"b\"}"),
        ] {
            let answer = service.ask(request).await;
            assert!(matches!(answer.status, 200 | 206 | 304), "{time}: {}", answer.text());
            let of = |name| parse_http_date(answer.field(name).unwrap()).unwrap();
            assert!(of("last-modified") <= of("date"), "{time}: {answer:?}");
        }
    }
    service.end().await;
}
