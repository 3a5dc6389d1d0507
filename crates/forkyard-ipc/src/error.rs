//! What can be wrong with a message.

use thiserror::Error;

use crate::v8::ReadError;

/// Why a frame is not a message.
#[derive(Debug, Error)]
pub enum ParseError {
    /// The line is not JSON.
    #[error("read the message as JSON")]
    Json {
        /// What the JSON reader found.
        #[source]
        source: serde_json::Error,
    },
    /// The bytes are not V8's serialization.
    #[error("read the message as V8's serialization")]
    Advanced {
        /// What the V8 reader found.
        #[from]
        source: ReadError,
    },
    /// A field is not there that the message must have.
    #[error("find the field {field:?} in the message")]
    MissingField {
        /// The field's name.
        field: &'static str,
    },
    /// A field holds something that it cannot.
    #[error("use what the field {field:?} of the message holds")]
    WrongType {
        /// The field's name.
        field: &'static str,
    },
    /// A value in an envelope refers to the envelope around it.
    #[error("take the field {field:?} out of the message it refers to")]
    EnvelopeReference {
        /// The field's name.
        field: &'static str,
    },
}

/// Why a message cannot be written.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// A user message that would be taken for one of Node's own.
    #[error("send a user message whose cmd is {cmd:?}: names that begin with NODE_ are Node's")]
    Reserved {
        /// The `cmd` it has.
        cmd: String,
    },
    /// The value is nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    #[error("write a value nested so deeply")]
    TooDeep,
    /// A [`Value::Reference`](crate::Value::Reference) to an object that has not begun.
    #[error("refer to object {number}, which does not stand before the reference")]
    DanglingReference {
        /// The object's number.
        number: u32,
    },
    /// A value that the variant around it cannot hold, such as a boxed array.
    #[error("write a {what}")]
    Malformed {
        /// What it is meant to be.
        what: &'static str,
    },
    /// More bytes than a 32-bit length can say.
    #[error("write more than 4 GiB in one piece")]
    TooLong,
    /// A message known by name only.
    #[error("write the unknown message {cmd:?}")]
    Unknown {
        /// Its `cmd`.
        cmd: String,
    },
    /// The value cannot be written as JSON.
    #[error("write the message as JSON")]
    Json {
        /// What the JSON writer found.
        #[from]
        source: serde_json::Error,
    },
}
