//! What went wrong behind a handler, as a client sees it: errors of the store and of
//! the database become a [`Problem`].

use std::io;
use std::sync::Arc;

use http::StatusCode;
use storage::LoadError;
use streaming::UploadError;

use crate::Problem;

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::TooLarge { max_size } => Self::too_large(max_size),
            UploadError::Stalled(_) => Self::timed_out(error.to_string()),
            UploadError::Body(error) => {
                tracing::debug!(%error, "a body ended early");
                Self::bad_request("the body ended early, or broke the protocol")
            }
            UploadError::QuotaExceeded(exceeded) => {
                tracing::warn!(%exceeded, "the quota of content is reached");
                Self::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "quota-exceeded",
                    "The content does not fit into the quota of the service",
                    format!("{exceeded}; deleting files makes room"),
                )
            }
            UploadError::Store(error) => error.into(),
        }
    }
}

/// The process, or the system, has no file descriptor left: the same number on
/// every Unix. The standard library has no name for it.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// An error of the store.
impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        tracing::error!(%error, "the store failed");
        if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) {
            return Self::busy("too many files are open");
        }
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "storage-full",
                "There is no space left for content",
                "",
            ),
            _ => Self::internal(),
        }
    }
}

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
