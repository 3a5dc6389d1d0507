//! How the last primary of an app ended.

use serde::{Deserialize, Serialize};

/// Written by the primary itself; one that is killed writes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// The primary's process id.
    pub(crate) pid: u32,
    /// The exit code of the command.
    pub(crate) code: u8,
    /// When, in RFC 3339.
    pub(crate) time: String,
    /// Why, in words.
    pub(crate) reason: String,
    /// The last lines of the worker that was one too many.
    #[serde(default)]
    pub(crate) stderr_tail: Vec<String>,
}
