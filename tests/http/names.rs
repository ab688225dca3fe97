//! Names: what is accepted, and what a downloader sees of it.

use sqlx::PgPool;
use tests::Request;

use crate::rig::{File, Service, problem};

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_name_comes_back_as_it_was_and_is_safe_to_save_under(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let longest = "x".repeat(255);
    let plain = |name: &str| format!("attachment; filename=\"{name}\"");
    let both = |ascii: &str, coded: &str| {
        format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{coded}")
    };
    for (query, name, disposition) in [
        ("name=report.pdf", "report.pdf", plain("report.pdf")),
        ("name=a+b%20c", "a b c", plain("a b c")),
        ("name=a%2Bb", "a+b", plain("a+b")),
        ("name=a%22b%22.txt", "a\"b\".txt", both("a_b_.txt", "a%22b%22.txt")),
        ("name=a'b(c).txt", "a'b(c).txt", plain("a'b(c).txt")),
        ("name=100%25.txt", "100%.txt", both("100_.txt", "100%25.txt")),
        ("name=a%3B+filename%3Db", "a; filename=b", both("a_ filename=b", "a%3B%20filename%3Db")),
        ("name=na%C3%AFve.txt", "naïve.txt", both("na_ve.txt", "na%C3%AFve.txt")),
        ("name=naïve.txt", "naïve.txt", both("na_ve.txt", "na%C3%AFve.txt")),
        ("name=%E6%96%87.txt", "文.txt", both("_.txt", "%E6%96%87.txt")),
        ("name=%F0%9F%9A%A2", "🚢", both("_", "%F0%9F%9A%A2")),
        ("name=...", "...", plain("...")),
        ("name=.profile", ".profile", plain(".profile")),
        ("other=1&name=a&more", "a", plain("a")),
        (&format!("name={longest}"), &longest, plain(&longest)),
    ] {
        let created = service.ask(Request::post(format!("/v1/files?{query}"), "x")).await;
        let file = File::of(&created);
        let record: serde_json::Value = serde_json::from_slice(&created.body).unwrap();
        assert_eq!(record["name"], name, "{query}");
        for request in [Request::get(&file.content), Request::head(&file.content)] {
            let got = service.ask(request).await;
            assert_eq!(got.field("content-disposition"), Some(disposition.as_str()), "{query}");
        }
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn names_that_deceive_or_are_none_are_refused(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let (long, longer) = ("x".repeat(256), "x".repeat(300));
    // 254 + 2 bytes, which are 255 characters.
    let wide = format!("{}%C3%A9", "x".repeat(254));
    for name in [
        "",
        ".",
        "..",
        "../evil",
        "..%2Fevil",
        "%2Fetc%2Fpasswd",
        "..%5Cevil",
        "a%0Ab",
        "a%0D%0ASet-Cookie:%20x",
        "a%00",
        "%1B[31m",
        "%7F",
        "%C2%85",
        "exe.%E2%80%AEtxt",
        "%E2%81%A6a",
        "%D8%9Ca",
        "a%E2%80%A8b",
        // A soft hyphen, an invisible times, a Hangul filler, a vowel separator.
        "a%C2%ADb",
        "a%E2%81%A2b",
        "%E3%85%A4",
        "a%E1%A0%8Eb",
        "%FF",
        "a%C3",
        "%ED%A0%80",
        &long,
        &longer,
        &wide,
    ] {
        let answer = service.ask(Request::post(format!("/v1/files?name={name}"), "x")).await;
        let detail = problem(&answer, 422, "invalid");
        assert!(detail.starts_with("name: "), "{name}: {detail}");
    }
    assert!(service.records().await.is_empty());
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_name_is_given_once(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for target in ["/v1/files", "/v1/files?", "/v1/files?nam=a", "/v1/files?NAME=a"] {
        problem(&service.ask(Request::post(target, "x")).await, 422, "invalid");
    }
    let twice = Request::post("/v1/files?name=a&name=b", "x");
    problem(&service.ask(twice).await, 400, "bad-request");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_name_may_be_there_already(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let (one, other) = (service.store("a", "one").await, service.store("a", "other").await);
    assert_eq!(service.ask(Request::get(&one.content)).await.text(), "one");
    assert_eq!(service.ask(Request::get(&other.content)).await.text(), "other");
    service.end().await;
}
