//! Repr-Digest (RFC 9530): `sha-256=:…:`, read and written.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sfv::{BareItem, Dictionary, ListEntry, Parser};
use streaming::Digest;

use crate::Problem;

/// The field's name.
pub const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// The SHA-256 that the client says its content has, if it says so. Digests by
/// other algorithms are passed over, as the RFC has it.
///
/// # Errors
/// 400 where the field is no dictionary, or `sha-256` no digest of 32 bytes.
pub fn expected(headers: &HeaderMap) -> Result<Option<Digest>, Problem> {
    let malformed = || Problem::bad_request("Repr-Digest: expected sha-256=:<base64>: (RFC 9530)");
    let mut dictionary = Dictionary::new();
    for value in headers.get_all(REPR_DIGEST) {
        let members: Dictionary = Parser::new(value.as_bytes()).parse().map_err(|_| malformed())?;
        dictionary.extend(members);
    }
    match dictionary.get("sha-256") {
        None => Ok(None),
        Some(ListEntry::Item(item)) => match &item.bare_item {
            BareItem::ByteSequence(bytes) => {
                bytes.as_slice().try_into().map(Some).map_err(|_| malformed())
            }
            _ => Err(malformed()),
        },
        Some(ListEntry::InnerList(_)) => Err(malformed()),
    }
}

/// Whether the content is what the client said, if it said so.
///
/// # Errors
/// 422.
pub fn compare(expected: Option<Digest>, received: Digest) -> Result<(), Problem> {
    if expected.is_none_or(|expected| expected == received) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "digest-mismatch",
        "The content has another digest",
        "Repr-Digest does not match what was received; nothing was kept",
    ))
}

/// The field's value for content with this SHA-256.
#[must_use]
pub fn value(sha256: &[u8]) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("sha-256=:{}:", BASE64_STANDARD.encode(sha256))).ok()
}
