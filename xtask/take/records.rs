//! Records: the bytes that each holds.
//!
//! **The twin**: a `serde_json::Value` of the same members.

use anyhow::Result;
use meter::{Report, Sample};
use pattern::record::{FileRecord, Row, cost};
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Case;
use crate::rig;
use crate::rig::measure::REPETITIONS;
use crate::rig::service::quiet;

pub const CASE: Case = Case {
    name: "records",
    about: "bytes that a record holds",
    pattern: || rig::run(pattern()),
    twin: || rig::run(twin()),
};

/// So many are held at once, to be counted.
const HELD: usize = 1_000;

const CONTENT_TYPE: &str = "application/octet-stream";

async fn pattern() -> Result<Report> {
    let mut samples = Vec::new();
    for name in [10, 40, 255] {
        let held = held(name, |row| Ok(FileRecord::try_from(row)?)).await?;
        if name == 40 {
            samples.push(held.clone());
        }
        samples.push(held.share_of(&format!("name_{name}"), cost(name, CONTENT_TYPE.len())));
    }
    Ok(Report { samples })
}

async fn twin() -> Result<Report> {
    Ok(Report { samples: vec![held(40, |row| Ok(naive(&row))).await?] })
}

fn naive(row: &Row) -> Value {
    json!({
        "id": row.id.to_string(),
        "name": row.name,
        "content_type": row.content_type,
        "size": row.size,
        "sha256": row.sha256.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        "created_at": row.created_at.to_string(),
        "updated_at": row.updated_at.to_string(),
    })
}

/// `record`: what each of many records holds, in bytes.
async fn held<T>(name: usize, keep: impl Fn(Row) -> Result<T>) -> Result<Sample> {
    let mut repetitions = Vec::new();
    for _ in 0..REPETITIONS {
        let mut kept = Vec::with_capacity(HELD);
        let before = quiet().await? - kept.capacity() * size_of::<T>();
        for size in 0..HELD {
            let at = OffsetDateTime::UNIX_EPOCH;
            kept.push(keep(Row {
                id: Uuid::new_v4(),
                name: "n".repeat(name),
                content_type: CONTENT_TYPE.to_owned(),
                size: i64::try_from(size)?,
                sha256: [7; 32],
                revision: 1,
                created_at: at,
                updated_at: at,
            })?);
        }
        repetitions.push((quiet().await? - before) as f64 / HELD as f64);
    }
    Ok(Sample::new("record", repetitions))
}
