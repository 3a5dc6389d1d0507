//! The channel between Node.js processes: framing, messages, both dialects, both
//! directions. Nothing here reads or writes anything; bytes come in and go out
//! as slices, and handles are whatever the caller says they are.
//!
//! ```text
//!  bytes ──▶ Decoder ──▶ frame ──▶ WorkerMessage::parse / PrimaryMessage::parse
//!  bytes ◀── Outbox  ◀── frame ◀── WorkerMessage::encode / PrimaryMessage::encode
//! ```
//!
//! A primary parses [`WorkerMessage`]s and encodes [`PrimaryMessage`]s, a worker
//! the other way round. Programs' own messages are [`Value`]s.
//!
//! Bytes from a peer never panic, and what they make this crate allocate is
//! bounded by their length: some eighty bytes for each at the very worst, which
//! takes a message made of nothing but the smallest objects.

#![forbid(unsafe_code)]

mod agent;
mod decoder;
mod dialect;
mod envelope;
mod error;
mod fields;
mod frame_writer;
mod handle;
mod outbox;
mod primary_message;
mod query;
mod reply;
mod socket;
mod v8;
mod value;
mod worker_message;

pub use agent::{AgentOrder, AgentReport};
pub use decoder::{Decoder, DecoderState, FrameError, Skip};
pub use dialect::{Dialect, UnknownDialect};
pub use error::{EncodeError, ParseError};
pub use handle::{HandleKind, Transport};
pub use outbox::{Chunk, Frame, Outbox, OutboxFull, OutboxState};
pub use primary_message::PrimaryMessage;
pub use query::{AddressType, ServerQuery};
pub use reply::{Family, ServerReply, SockName};
pub use socket::{SocketAnswer, SocketQuery};
pub use v8::{ReadError, ReadErrorKind};
pub use value::{
    ArrayBuffer, BigInt, Bytes, ErrorKind, ErrorValue, MAX_DEPTH, RegExp, SparseArray, Value, View,
    ViewKind,
};
pub use worker_message::WorkerMessage;
