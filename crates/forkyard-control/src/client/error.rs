//! Why a primary could not be asked.

use std::io;
use std::path::PathBuf;

use hyper::StatusCode;

use super::Found;
use crate::types::ErrorBody;

/// Why a primary could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It is not there.
    #[error("failed to connect to {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is there, but does not say anything.
    #[error("failed to get an answer from process {pid}; see whether it is stopped")]
    Silent {
        /// The primary's process.
        pid: u32,
    },
    /// What it says makes no sense.
    #[error("failed to understand the primary: {0}; it may be of another version")]
    Nonsense(String),
    /// It was gone before it had told the outcome.
    #[error("the primary, process {pid}, ended before it had told the outcome")]
    Ended {
        /// The primary's process.
        pid: u32,
    },
    /// It was upgraded, and does not know of a reload.
    #[error(
        "the primary, process {pid}, was upgraded meanwhile and knows of no reload: it had not \
         begun, or had just ended; ask again"
    )]
    NotBegun {
        /// The primary's process.
        pid: u32,
    },
    /// It is of a version that has no such request.
    #[error(
        "the primary, process {pid}, is of a version that cannot do that ({said}); \
         `forkyard upgrade {app}` has it run the one that is installed"
    )]
    Unknown {
        /// The primary's process.
        pid: u32,
        /// The app.
        app: String,
        /// What it says to that.
        said: String,
    },
    /// It says no.
    #[error("the primary says: {0}")]
    Denied(String),
    /// What was asked for makes no sense.
    #[error("the primary says: {0}")]
    Misasked(String),
    /// The process could not be watched.
    #[error("failed to watch process {pid}: {source}")]
    Watch {
        /// The primary's process.
        pid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
}

pub(super) fn nonsense(error: impl ToString) -> ClientError {
    ClientError::Nonsense(error.to_string())
}

/// An answer that is an error, as a person is to read it.
pub(super) fn denied(primary: &Found, status: StatusCode, body: &[u8]) -> ClientError {
    let said = serde_json::from_slice::<ErrorBody>(body).map(|body| body.error);
    let said = said.unwrap_or_else(|_| status.to_string());
    match status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            ClientError::Unknown { pid: primary.pid, app: primary.app.clone(), said }
        }
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => ClientError::Misasked(said),
        _ => ClientError::Denied(said),
    }
}
