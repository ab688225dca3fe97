//! Records without content, and what a client must see of them.

use sha2::{Digest as _, Sha256};
pub use tests::rows::{grow, id};

use super::content::Digest;

/// The digest of rows `rows` to 1 as JSON, newest first, with `separator` after
/// each but the last, and `end` after that.
pub fn digest(rows: u64, separator: &str, end: &str) -> Digest {
    let mut hasher = Sha256::new();
    for number in (1..=rows).rev() {
        hasher.update(json(number));
        hasher.update(if number > 1 { separator } else { end });
    }
    hasher.finalize().into()
}

/// The row with this number, as a client must see it.
pub fn json(number: u64) -> String {
    let (id, sha256, at) = (id(number), "5a".repeat(32), "2026-01-02T03:04:05.678901Z");
    format!(
        concat!(
            r#"{{"id":"{id}","name":"record-{number:033}","#,
            r#""content_type":"application/octet-stream","size":{number},"sha256":"{sha256}","#,
            r#""created_at":"{at}","updated_at":"{at}"}}"#
        ),
        id = id,
        number = number,
        sha256 = sha256,
        at = at,
    )
}
