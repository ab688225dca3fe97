//! Records without content, planted in the table by the thousand. The memory tests have
//! their own, which go along where a pattern is taken.

use anyhow::Result;
use sqlx::PgPool;
use uuid::Uuid;

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
