//! Records without content, planted in the table by the thousand, and what a
//! client must see of them.

use anyhow::Result;
use sha2::{Digest as _, Sha256};
use storage::PgPool;
use uuid::Uuid;

use super::content::Digest;

/// The id of the row with this number: they are in the order of numbers.
pub fn id(number: u64) -> Uuid {
    Uuid::from_u128(0x7000_8000_0000_0000_0000 | u128::from(number))
}

/// Brings the table, which holds rows 1 to some number and nothing else, to
/// `rows`.
pub async fn grow(pool: &PgPool, rows: u64) -> Result<()> {
    sqlx::query(
        "INSERT INTO files (id, name, content_type, size, sha256, created_at, updated_at)
         SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid,
                'record-' || lpad(number::text, 33, '0'), 'application/octet-stream', number,
                decode(repeat('5a', 32), 'hex'), at, at
         FROM generate_series((SELECT count(*) FROM files) + 1, $1) AS number,
              (VALUES (timestamptz '2026-01-02 03:04:05.678901Z')) AS made (at)",
    )
    .bind(i64::try_from(rows)?)
    .execute(pool)
    .await?;
    // Not left to chance: autovacuum would do it some time later.
    sqlx::query("ANALYZE files").execute(pool).await?;
    Ok(())
}

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
