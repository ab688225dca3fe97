//! Records: bytes that one record holds, for as long as it is held.
//!
//! **What goes wrong**: a `serde_json::Value` is a map of strings to enums: some
//! 1.5 KB where 200 bytes are said.
//!
//! **The pattern**: `storage::FileRecord`. Fixed fields in place, both texts in
//! one allocation of exactly their size.
//!
//! **The bound**: `storage::record::cost(name, content_type)`.
//!
//! **The twin**: what is at hand in any JSON service: the record as a
//! `serde_json::Value`.

use anyhow::{Result, ensure};
use futures_util::TryStreamExt;
use handler::record::Record;
use meter::{Report, Sample};
use serde_json::Value;
use storage::record::cost;
use storage::{FileRecord, PgPool, files};

use super::{Case, Tier};
use crate::rig::application::Home;
use crate::rig::service::quiet;
use crate::rig::{self, measure, rows};

pub const CASE: Case = Case {
    name: "records",
    tier: Tier::A,
    about: "bytes that a record holds",
    pattern: || rig::run(Home::with(async |home| pattern(home).await)),
    twin: || rig::run(Home::with(async |home| twin(home).await)),
};

/// So many are held at once, to be counted.
const HELD: u16 = 1_000;

/// The content type of each, in bytes.
const CONTENT_TYPE: usize = "application/octet-stream".len();

async fn pattern(home: &Home) -> Result<Report> {
    let rig = home.build(&[]).await?;
    let pool = &rig.application.app.pool;
    rows::grow(pool, HELD.into()).await?;
    let mut samples = Vec::new();
    for name in [10, 40, 255] {
        let held = held(pool, name, Ok, to_value).await?;
        if name == 40 {
            samples.push(held.clone());
        }
        samples.push(held.share_of(&format!("name_{name}"), cost(name, CONTENT_TYPE)));
    }
    rig.end().await;
    Ok(Report { samples })
}

async fn twin(home: &Home) -> Result<Report> {
    let rig = home.build(&[]).await?;
    let pool = &rig.application.app.pool;
    rows::grow(pool, HELD.into()).await?;
    let naive = |record: FileRecord| to_value(&record);
    let held = held(pool, 40, naive, |value: &Value| Ok(value.clone())).await?;
    rig.end().await;
    Ok(Report { samples: vec![held] })
}

fn to_value(record: &FileRecord) -> Result<Value> {
    Ok(serde_json::to_value(Record::from(record))?)
}

/// `record`: what each of many records holds, named with so many bytes, in
/// bytes. `keep` makes of a record what is held, `show` makes of that what a
/// client would see.
async fn held<T>(
    pool: &PgPool,
    name: usize,
    keep: impl Fn(FileRecord) -> Result<T>,
    show: impl Fn(&T) -> Result<Value>,
) -> Result<Sample> {
    let text = "n".repeat(name);
    sqlx::query("UPDATE files SET name = $1").bind(&text).execute(pool).await?;
    let mut repetitions = Vec::new();
    for _ in 0..measure::WARM_UPS + measure::REPETITIONS {
        let before = quiet().await?;
        let mut kept = Vec::with_capacity(HELD.into());
        let mut records = Box::pin(files::page(pool, None, HELD));
        while let Some(record) = records.try_next().await? {
            kept.push(keep(record)?);
        }
        drop(records);
        let live = quiet().await?;
        ensure!(kept.len() == usize::from(HELD), "{} records of {HELD}", kept.len());
        for (number, kept) in (1..=u64::from(HELD)).rev().zip(&kept) {
            let mut expected: Value = serde_json::from_str(&rows::json(number))?;
            expected["name"] = text.clone().into();
            ensure!(show(kept)? == expected, "another record is held than there is");
        }
        repetitions.push((live as f64 - before as f64) / f64::from(HELD));
    }
    Ok(Sample::new("record", repetitions.split_off(measure::WARM_UPS)))
}
