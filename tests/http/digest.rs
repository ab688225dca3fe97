//! Repr-Digest (RFC 9530): what the client says of its content is verified.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256, Sha512};
use sqlx::PgPool;
use tests::{Request, Response};

use crate::rig::{File, Service, content, problem};

fn sha256(content: &[u8]) -> String {
    format!("sha-256=:{}:", BASE64_STANDARD.encode(Sha256::digest(content)))
}

async fn post(service: &Service, digest: impl AsRef<[u8]>) -> Response {
    let post = Request::post("/v1/files?name=a", "hello").field("repr-digest", digest);
    service.ask(post).await
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_digest_that_matches_is_accepted_and_sent_back(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for sent in [content(0), content(100_000)] {
        let request = Request::post("/v1/files?name=a", &sent[..]);
        let file = File::of(&service.ask(request.field("repr-digest", sha256(&sent))).await);
        for request in [Request::get(&file.content), Request::head(&file.content)] {
            let got = service.ask(request).await;
            assert_eq!(got.field("repr-digest"), Some(sha256(&sent).as_str()));
        }
        // Of the whole, whatever part is sent.
        let part = Request::get(&file.content).field("range", "bytes=0-0");
        let part = service.ask(part).await;
        assert_eq!(
            part.field("repr-digest"),
            Some(sha256(&sent).as_str()).filter(|_| part.status < 400)
        );
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn another_digest_is_refused_and_nothing_is_kept(database: PgPool) {
    let service = Service::start(&database, &["--max-uploads", "1"]).await;
    for other in [&b"hell"[..], b"hello ", b""] {
        problem(&post(&service, sha256(other)).await, 422, "digest-mismatch");
        service.at_rest().await;
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn a_digest_that_is_none_is_refused(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    for digest in [
        "",
        "sha-256",
        "sha-256=",
        "sha-256=::",
        "sha-256=:aGVsbG8=:",
        "sha-256=\"LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=\"",
        "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
        "sha-256=:not base64:",
        "sha-256=(:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:)",
        "SHA-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:",
        "sha-256:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
    ] {
        let answer = post(&service, digest).await;
        // An empty field is an empty dictionary: nothing is said.
        if digest.is_empty() {
            File::of(&answer);
            continue;
        }
        problem(&answer, 400, "bad-request");
    }
    problem(&post(&service, b"sha-256=:\xff:").await, 400, "bad-request");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn digests_by_other_algorithms_are_passed_over(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let sha512 = format!("sha-512=:{}:", BASE64_STANDARD.encode(Sha512::digest("hello")));
    let wrong = "sha-512=:aGVsbG8=:, unixsum=30637, id-sha-256=:AA==:";
    for digest in [sha512.clone(), wrong.to_owned(), format!("{sha512}, {}", sha256(b"hello"))] {
        File::of(&post(&service, digest).await);
    }
    let answer = post(&service, format!("{sha512}, {}", sha256(b"hell"))).await;
    problem(&answer, 422, "digest-mismatch");
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn of_a_digest_given_twice_the_last_counts(database: PgPool) {
    let service = Service::start(&database, &[]).await;
    let (right, wrong) = (sha256(b"hello"), sha256(b"hell"));
    for (one, other, accepted) in [(&wrong, &right, true), (&right, &wrong, false)] {
        let request = Request::post("/v1/files?name=a", "hello");
        let request = request.field("repr-digest", one).field("repr-digest", other);
        for answer in [service.ask(request).await, post(&service, format!("{one}, {other}")).await]
        {
            match accepted {
                true => drop(File::of(&answer)),
                false => drop(problem(&answer, 422, "digest-mismatch")),
            }
        }
    }
    service.end().await;
}

#[sqlx::test(migrator = "storage::MIGRATOR")]
async fn each_part_of_a_form_is_held_to_its_own_digest(database: PgPool) {
    let service = Service::start(&database, &["--max-uploads", "1"]).await;
    let part = |digest: &str| {
        let head = "--XX\r\nContent-Disposition: form-data; filename=\"a\"\r\n";
        format!("{head}Repr-Digest: {digest}\r\n\r\nhello\r\n")
    };
    let form = |parts: String| {
        let form = Request::post("/v1/files", parts + "--XX--\r\n");
        form.field("content-type", "multipart/form-data; boundary=XX")
    };
    let (right, wrong) = (sha256(b"hello"), sha256(b"hell"));
    let both = service.ask(form(part(&right) + &part(&right))).await;
    assert_eq!(both.status, 201, "{}", both.text());
    let kept = service.contents();
    for (digest, status, kind) in
        [(wrong.as_str(), 422, "digest-mismatch"), ("sha-256=::", 400, "bad-request")]
    {
        problem(&service.ask(form(part(&right) + &part(digest))).await, status, kind);
        service.at_rest().await;
    }
    // Of the form as a whole nothing would be verified: it is not taken in silence.
    let of_form = form(part(&right)).field("repr-digest", &right);
    problem(&service.ask(of_form).await, 400, "bad-request");
    assert_eq!(service.contents(), kept);
    service.end().await;
}
