//! What every error must be: a problem document that tells enough, and no more.

use serde_json::Value;
use tests::Response;

/// What only the log may hold: SQL, crates, paths, panics.
const SECRETS: [&str; 9] =
    ["SELECT", "INSERT", "DELETE FROM", "sqlx", "postgres", "staging", "/tmp", ".rs", "panicked"];

/// Fails unless a response is the problem `urn:problem-type:<kind>` of this
/// status, with all that belongs to one. Returns its detail.
#[track_caller]
pub fn problem(response: &Response, status: u16, kind: &str) -> String {
    let text = response.text();
    assert_eq!(response.status, status, "{text}");
    assert_eq!(response.field("content-type"), Some("application/problem+json"), "{text}");
    assert_eq!(response.field("x-content-type-options"), Some("nosniff"));
    let document: Value = serde_json::from_str(&text).unwrap();
    let members = document.as_object().unwrap().keys();
    let allowed = ["type", "title", "status", "detail", "request_id"];
    members.for_each(|member| assert!(allowed.contains(&member.as_str()), "{text}"));
    assert_eq!(document["type"], format!("urn:problem-type:{kind}"), "{text}");
    assert_eq!(document["status"], status, "{text}");
    assert!(document["title"].as_str().is_some_and(|title| !title.is_empty()), "{text}");
    assert_ne!(document["detail"], "", "a detail that says nothing: {text}");
    assert!(document["request_id"].is_string(), "{text}");
    assert_eq!(document["request_id"].as_str(), response.field("x-request-id"));
    assert!(!SECRETS.iter().any(|secret| text.contains(secret)), "{text}");
    if matches!(kind, "internal" | "unavailable" | "storage-full") {
        assert_eq!(document.get("detail"), None, "the cause is for the log: {text}");
    }
    if status == 408 {
        assert_eq!(response.field("connection"), Some("close"), "{response:?}");
    }
    let later: Option<u32> = response.field("retry-after").map(|later| later.parse().unwrap());
    match status {
        429 | 503 => assert!(later.is_some_and(|seconds| seconds >= 1), "{response:?}"),
        _ => assert_eq!(later, None),
    }
    document["detail"].as_str().unwrap_or_default().to_owned()
}
