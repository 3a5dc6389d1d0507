//! The questions a process asks about sockets it has sent away with a key.
//!
//! A process that hands a server's connection to another one keeps counting it,
//! and asks the other how many it still has. See `internal/socket_list.js`.

use crate::fields::Fields;
use crate::frame_writer::FrameWriter;
use crate::{EncodeError, ParseError};

/// A question about the sockets that were sent with a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SocketQuery {
    /// Say so when all of them are closed: `NODE_SOCKET_NOTIFY_CLOSE`.
    NotifyClose {
        /// The sender's name for the server they came from.
        key: String,
    },
    /// How many are open: `NODE_SOCKET_GET_COUNT`.
    GetCount {
        /// The sender's name for the server they came from.
        key: String,
    },
}

/// The answer to a [`SocketQuery`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SocketAnswer {
    /// None is open any more: `NODE_SOCKET_ALL_CLOSED`.
    AllClosed {
        /// The key of the question.
        key: String,
    },
    /// So many are open: `NODE_SOCKET_COUNT`.
    Count {
        /// The key of the question.
        key: String,
        /// How many.
        count: u64,
    },
}

pub(crate) const NOTIFY_CLOSE: &str = "NODE_SOCKET_NOTIFY_CLOSE";
pub(crate) const GET_COUNT: &str = "NODE_SOCKET_GET_COUNT";
pub(crate) const ALL_CLOSED: &str = "NODE_SOCKET_ALL_CLOSED";
pub(crate) const COUNT: &str = "NODE_SOCKET_COUNT";

impl SocketQuery {
    /// Reads a message whose `cmd` is one of the two.
    pub(crate) fn parse(fields: Fields<'_>) -> Result<Self, ParseError> {
        let key = fields.required_string("key")?.to_owned();
        Ok(match fields.required_string("cmd")? {
            NOTIFY_CLOSE => Self::NotifyClose { key },
            _ => Self::GetCount { key },
        })
    }

    pub(crate) fn write(&self, fields: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
        let (cmd, key) = match self {
            Self::NotifyClose { key } => (NOTIFY_CLOSE, key),
            Self::GetCount { key } => (GET_COUNT, key),
        };
        fields.string("cmd", cmd)?;
        fields.string("key", key)
    }
}

impl SocketAnswer {
    /// Reads a message whose `cmd` is one of the two.
    pub(crate) fn parse(fields: Fields<'_>) -> Result<Self, ParseError> {
        let key = fields.required_string("key")?.to_owned();
        Ok(match fields.required_string("cmd")? {
            ALL_CLOSED => Self::AllClosed { key },
            _ => Self::Count { key, count: fields.required("count")? },
        })
    }

    pub(crate) fn write(&self, fields: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
        match self {
            Self::AllClosed { key } => {
                fields.string("cmd", ALL_CLOSED)?;
                fields.string("key", key)
            }
            Self::Count { key, count } => {
                fields.string("cmd", COUNT)?;
                fields.string("key", key)?;
                fields.unsigned("count", *count)
            }
        }
    }
}
