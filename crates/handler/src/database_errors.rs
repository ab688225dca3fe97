//! What went wrong in the database, as a client sees it.

use std::sync::Arc;

use storage::LoadError;

use crate::Problem;

/// An error of the database.
impl From<storage::Error> for Problem {
    fn from(error: storage::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&storage::Error> for Problem {
    fn from(error: &storage::Error) -> Self {
        if storage::is_unavailable(error) {
            tracing::warn!(%error, "the database is out of reach");
            return Self::unavailable();
        }
        // What the handlers check, the table checks too; one by its name says
        // what a client did wrong.
        match storage::broken_constraint(error) {
            Some("files_name_length") => return Self::invalid("name: 1 to 255 bytes"),
            Some("files_content_type_length") => {
                return Self::invalid("Content-Type: 1 to 255 bytes");
            }
            _ => {}
        }
        tracing::error!(%error, "a query failed");
        Self::internal()
    }
}

/// Why there is no record.
impl From<Arc<LoadError<storage::Error>>> for Problem {
    fn from(error: Arc<LoadError<storage::Error>>) -> Self {
        match &*error {
            LoadError::Missing => Self::no_such_file(),
            LoadError::Busy => Self::busy("too many records are being loaded"),
            LoadError::Failed(error) => error.into(),
        }
    }
}
