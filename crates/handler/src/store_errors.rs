//! What went wrong in the store, as a client sees it.

use std::io;

use http::StatusCode;
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
