//! Records without uploads, for when they are to be many. They have no content:
//! the test takes them away before it ends.

use std::collections::BTreeSet;

use sqlx::PgPool;
use uuid::Uuid;

/// Makes `count` records of this name and content type. Their ids are random:
/// they stand anywhere in the order.
pub async fn plant(database: &PgPool, count: i32, name: &str, content_type: &str) {
    let insert = "INSERT INTO files (id, name, content_type, size, sha256)
                  SELECT gen_random_uuid(), $2, $3, 5, sha256($2::bytea)
                  FROM generate_series(1, $1)";
    let query = sqlx::query(insert).bind(count).bind(name).bind(content_type);
    query.execute(database).await.unwrap();
}

/// Deletes up to `count` records of this name.
pub async fn remove(database: &PgPool, count: i64, name: &str) {
    let delete = "DELETE FROM files WHERE id IN (SELECT id FROM files WHERE name = $1 LIMIT $2)";
    sqlx::query(delete).bind(name).bind(count).execute(database).await.unwrap();
}

/// The ids of all records of this name.
pub async fn ids(database: &PgPool, name: &str) -> BTreeSet<String> {
    let query = "SELECT coalesce(array_agg(id), '{}') FROM files WHERE name = $1";
    let ids: Vec<Uuid> = sqlx::query_scalar(query).bind(name).fetch_one(database).await.unwrap();
    ids.iter().map(Uuid::to_string).collect()
}

/// Deletes all records.
pub async fn clear(database: &PgPool) {
    sqlx::query("TRUNCATE files CASCADE").execute(database).await.unwrap();
}
