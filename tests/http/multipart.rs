//! Multipart forms: one or several files, all of them or none.

use handler::multipart::MAX_FRAMING;
use serde_json::Value;
use sqlx::PgPool;
use tests::message::chunk;
use tests::{Request, Response};

use crate::rig::{File, Service, eventually, problem};

const TYPE: &str = "multipart/form-data; boundary=XX";
const END: &str = "--XX--\r\n";

fn part(disposition: &str, content: &str) -> String {
    format!("--XX\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n")
}

fn file(name: &str, content: &str) -> String {
    part(&format!("name=\"f\"; filename=\"{name}\""), content)
}

fn form(body: impl Into<Vec<u8>>) -> Request {
    Request::post("/v1/files", body).field("content-type", TYPE)
}

fn names(response: &Response) -> Vec<String> {
    assert_eq!(response.status, 201, "{}", response.text());
    let answer: Value = serde_json::from_slice(&response.body).unwrap();
    let files = answer["files"].as_array().unwrap().iter();
    files.map(|file| file["name"].as_str().unwrap().to_owned()).collect()
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn files_of_one_form_are_published_together(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let body = [
        "preamble\r\n".to_owned(),
        part("name=\"note\"", "passed over"),
        file("one", "hello"),
        // What a browser sends for an input that was left empty.
        part("name=\"f\"; filename=\"\"", ""),
        file("文 \\\"two\\\".txt", "a\r\n--X\r\nb"),
        END.to_owned(),
        "epilogue".to_owned(),
    ]
    .concat();
    let answer = service.ask(form(body)).await;
    assert_eq!(names(&answer), ["one", "文 \"two\".txt"]);
    assert_eq!(answer.field("location"), None);
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    for (index, content) in ["hello", "a\r\n--X\r\nb"].into_iter().enumerate() {
        let id = answer["files"][index]["id"].as_str().unwrap();
        let got = service.ask(Request::get(format!("/v1/files/{id}/content"))).await;
        assert_eq!(got.text(), content);
    }
    let one = service.ask(form(file("one", "hello") + END)).await;
    assert_eq!(names(&one), ["one"]);
    assert!(one.field("location").is_some());
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_form_may_come_byte_by_byte(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let body = file("one", "hello") + &file("two", "--X\r\n") + END;
    let bytes = Request::chunked("/v1/files", body.as_bytes().chunks(1));
    assert_eq!(names(&service.ask(bytes.field("content-type", TYPE)).await), ["one", "two"]);
    // The last boundary's beginning in a segment of its own.
    let (before, _) = body.split_at(body.len() - END.len() - 2);
    let mut client = service.client().await;
    client.request(&form(body.clone()).body(before)).await.unwrap();
    for piece in ["\r\n--", "XX", "--", "\r\n"] {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        client.send(piece).await.unwrap();
    }
    assert_eq!(names(&client.response(false).await.unwrap()), ["one", "two"]);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn all_files_of_a_form_or_none(database: PgPool) {
    let service = Service::start(&database, &["--max-upload-size", "1KiB"]).await;
    let good = file("good", "hello");
    let digest = "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"b\"\r\n\
                  Repr-Digest: sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:\r\n\r\nx\r\n";
    for (last, status, kind) in [
        (file("../evil", "x"), 422, "invalid"),
        (file(&"x".repeat(256), "x"), 422, "invalid"),
        (file("large", &"x".repeat(1024)), 413, "too-large"),
        (digest.to_owned(), 422, "digest-mismatch"),
        (part("name=\"f\"; filename*=UTF-8''x", "lost"), 422, "invalid"),
        (good.repeat(16), 422, "invalid"),
    ] {
        let answer = service.ask(form(good.clone() + &last + END)).await;
        problem(&answer, status, kind);
        assert!(service.contents().is_empty() && service.records().await.is_empty());
    }
    let mut client = service.client().await;
    let half = good.clone() + "--XX\r\nContent-Disposition: form-data; filename=\"b\"\r\n\r\nhalf";
    client.request(&form(half.clone() + "never").body(half)).await.unwrap();
    eventually("both are staged", async || service.staged() == 2).await;
    drop(client);
    service.at_rest().await;
    assert!(service.contents().is_empty());
    assert_eq!(names(&service.ask(form(good.repeat(16) + END)).await).len(), 16);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_form_that_can_not_fit_is_not_asked_for(database: PgPool) {
    let flags = ["--max-upload-size", "600KiB", "--content-quota", "1MiB"];
    let service = Service::start(&database, &flags).await;
    let announced = |length: u64| {
        Request::new("POST", "/v1/files")
            .field("content-type", TYPE)
            .field("content-length", length.to_string())
            .field("expect", "100-continue")
    };
    let refused = async |length| {
        let mut client = service.client().await;
        client.request(&announced(length)).await.unwrap();
        client.response(false).await.unwrap()
    };
    for length in [(600 << 10) + MAX_FRAMING + 1, 100_000_000_000_000] {
        let detail = problem(&refused(length).await, 413, "too-large");
        assert_eq!(detail, "at most 614400 bytes");
    }
    assert_eq!(refused((600 << 10) + MAX_FRAMING).await.status, 100, "it may be all framing");
    service.at_rest().await;
    // Of two files, the second passes the limit: that is named, and not what is left.
    let large = file("a", &"x".repeat(600_000)) + &file("b", &"x".repeat(14_401)) + END;
    assert_eq!(problem(&service.ask(form(large)).await, 413, "too-large"), "at most 614400 bytes");
    service.store("a", "x".repeat(600_000)).await;
    let detail = problem(&refused((500 << 10) + MAX_FRAMING).await, 507, "quota-exceeded");
    assert!(detail.contains("of 1048576 bytes are left"), "{detail}");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_form_that_is_none_is_refused(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let note = part("name=\"note\"", "x");
    for (body, status) in [
        (END.to_owned(), 422),
        (note.clone() + END, 422),
        (note.repeat(65) + &file("a", "x") + END, 422),
        (part("name=\"note\"", &"x".repeat(17 << 10)) + END, 413),
        (String::new(), 400),
        ("no boundary".to_owned(), 400),
        (file("a", "no end"), 400),
        ("--XX\r\nno head\r\n\r\nx\r\n--XX--\r\n".to_owned(), 400),
    ] {
        let kind = match status {
            400 => "bad-request",
            413 => "too-large",
            _ => "invalid",
        };
        problem(&service.ask(form(body)).await, status, kind);
    }
    let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
    for content_type in [
        "multipart/form-data",
        "multipart/form-data; charset=utf-8",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        &long,
    ] {
        let request = Request::post("/v1/files", END).field("content-type", content_type);
        problem(&service.ask(request).await, 400, "bad-request");
    }
    // Whole forms but for the length of their boundary.
    for (length, status) in [(70, 201), (71, 400)] {
        let boundary = "x".repeat(length);
        let body = (file("a", "hello") + END).replace("XX", &boundary);
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let request = Request::post("/v1/files", body).field("content-type", content_type);
        assert_eq!(service.ask(request).await.status, status, "{length} bytes");
    }
    assert_eq!(service.contents().len(), 1);
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_head_that_never_ends_is_refused(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for start in ["", "--XX\r\nContent-Disposition: form-data; filename=\"a\"\r\nX: "] {
        let endless = chunk((start.to_owned() + &"x".repeat(256 << 10)).as_bytes());
        let request = Request::chunked("/v1/files", []).field("content-type", TYPE).body(endless);
        problem(&service.ask(request).await, 413, "too-large");
    }
    let file = File::of(&service.ask(Request::post("/v1/files?name=a", "x")).await);
    assert_eq!(service.contents(), [file.id.to_string()].into());
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_form_that_stalls_is_told_and_leaves_nothing_behind(database: PgPool) {
    let flags = ["--upload-timeout", "200ms", "--max-uploads", "1"];
    let service = Service::start(&database, &flags).await;
    let good = file("good", "hello");
    let half = "--XX\r\nContent-Disposition: form-data; filename=\"b\"\r\n\r\nhalf";
    for begun in [
        String::new(),
        "--X".to_owned(),
        // In a part's head, in its content, in a part that is no file.
        good.clone() + &half[..30],
        good.clone() + half,
        good.clone() + &half.replace("filename", "name"),
        // Before the last boundary, and within it.
        good.clone(),
        good.clone() + "--XX",
    ] {
        let request = form(begun.clone() + &"x".repeat(100)).body(begun.clone());
        let mut client = service.client().await;
        client.request(&request).await.unwrap();
        problem(&client.response(false).await.unwrap(), 408, "stalled");
        assert_eq!(client.rest().await.unwrap(), b"", "{begun:?}");
        service.at_rest().await;
        assert!(service.contents().is_empty(), "{begun:?}");
    }
    service.end().await;
}
