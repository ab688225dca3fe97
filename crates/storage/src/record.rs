//! A file's record, as compact as it is held: many of them are, in the cache.
//!
//! **What goes wrong**: a `serde_json::Value` costs some 1.5 KB a record; a struct
//! of `String`s and `Vec`s pays 24 bytes and an allocation for each field, and
//! what capacity is left over in each.
//!
//! **The pattern**: fixed fields in place, the digest as an array, both texts in
//! one allocation of exactly their size. Nothing borrows from a row, so that no
//! record pins the buffer that it was read from.

use sqlx::Error;
use sqlx::error::BoxDynError;
use time::OffsetDateTime;
use uuid::Uuid;

/// The longest name or content type, in bytes, by the table's constraints.
pub const MAX_TEXT: usize = 255;

/// The heap that a record may hold beside itself, in bytes: both texts. Held by
/// the memory test `records`.
#[must_use]
pub const fn cost(name: usize, content_type: usize) -> usize {
    size_of::<FileRecord>() + name + content_type
}

/// A file's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// Its id, which is its content's key too.
    pub id: Uuid,
    /// Of the content.
    pub sha256: [u8; 32],
    /// In bytes.
    pub size: u64,
    /// How often it was changed.
    pub revision: i64,
    /// When the record was made, by the database's clock.
    pub created_at: OffsetDateTime,
    /// When it was last changed, by the database's clock.
    pub updated_at: OffsetDateTime,
    // Name and content type, one after the other.
    texts: Box<str>,
    name_len: u8,
}

/// A row, as sqlx's macros make it: what a record is made of.
#[expect(missing_docs, reason = "they are the table's columns, and a record's members")]
#[derive(Debug)]
pub struct Row {
    pub id: Uuid,
    pub name: String,
    pub content_type: String,
    pub size: i64,
    pub sha256: [u8; 32],
    pub revision: i64,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

impl FileRecord {
    /// 1 to 255 bytes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.texts[..self.name_len.into()]
    }

    /// 1 to 255 bytes.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.texts[self.name_len.into()..]
    }

    /// What it holds, in bytes, itself included.
    #[must_use]
    pub fn held(&self) -> usize {
        size_of::<Self>() + self.texts.len()
    }
}

impl TryFrom<Row> for FileRecord {
    type Error = Error;

    /// Fails where a row breaks what the table's constraints promise.
    fn try_from(row: Row) -> Result<Self, Error> {
        let Row { id, name, content_type, size, sha256, revision, created_at, updated_at } = row;
        let broken = |why: BoxDynError| Error::Decode(why);
        let name_len = name.len().try_into().map_err(|error| broken(Box::new(error)))?;
        let size = size.try_into().map_err(|error| broken(Box::new(error)))?;
        let mut texts = String::with_capacity(name.len() + content_type.len());
        texts += &name;
        texts += &content_type;
        let texts = texts.into_boxed_str();
        Ok(Self { id, sha256, size, revision, created_at, updated_at, texts, name_len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, content_type: &str) -> Row {
        Row {
            id: Uuid::nil(),
            name: name.to_owned(),
            content_type: content_type.to_owned(),
            size: 1,
            sha256: [7; 32],
            revision: 0,
            created_at: OffsetDateTime::UNIX_EPOCH,
            updated_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn both_texts_come_back() {
        for (name, content_type) in
            [("a", "b"), ("文件.txt", "text/plain"), (&"x".repeat(255), "y")]
        {
            let record = FileRecord::try_from(row(name, content_type)).unwrap();
            assert_eq!((record.name(), record.content_type()), (name, content_type));
            assert_eq!(record.held(), cost(name.len(), content_type.len()));
        }
    }

    #[test]
    fn what_the_constraints_rule_out_is_an_error() {
        assert!(FileRecord::try_from(row(&"x".repeat(256), "y")).is_err());
        assert!(FileRecord::try_from(Row { size: -1, ..row("x", "y") }).is_err());
    }
}
