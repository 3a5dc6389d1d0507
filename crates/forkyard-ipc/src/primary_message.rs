//! What a primary sends and a worker receives.

use crate::agent::FORKYARD;
use crate::envelope::{self, CLUSTER, HANDLE, HANDLE_ACK, HANDLE_NACK, Opened};
use crate::fields::Fields;
use crate::frame_writer::{self, FrameWriter};
use crate::handle::SocketRole;
use crate::socket::{ALL_CLOSED, COUNT};
use crate::{
    AgentOrder, Dialect, EncodeError, HandleKind, ParseError, ServerReply, SocketAnswer, Transport,
    Value,
};

/// A message from the primary.
///
/// `seq` numbers the messages of one process. A reply says in `ack` which
/// message it answers.
#[derive(Debug, Clone, PartialEq)]
pub enum PrimaryMessage {
    /// The handle a worker sent has arrived. A worker that gets one it has not
    /// earned dies of it.
    HandleAck,
    /// An envelope has arrived without its handle.
    HandleNack,
    /// The answer to `queryServer`. If [`ServerReply::handle`] is there, it goes
    /// in an envelope and a listening socket with it.
    ServerReply {
        /// The number of the query.
        ack: u64,
        /// The message's number.
        seq: u64,
        /// The answer.
        reply: ServerReply,
    },
    /// A connection, always in an envelope and with a handle.
    NewConnection {
        /// The number to be named in the reply.
        seq: u64,
        /// The key of the listener it came in by.
        key: String,
        /// What kind of connection.
        transport: Transport,
    },
    /// Close all listeners, then the channel.
    Disconnect {
        /// The message's number.
        seq: u64,
    },
    /// The answer to `exitedAfterDisconnect`.
    Ack {
        /// The number of the message answered.
        ack: u64,
        /// The message's number.
        seq: u64,
    },
    /// The answer to a question about sockets.
    Socket(SocketAnswer),
    /// Something for Forkyard's agent.
    Agent(AgentOrder),
    /// A message of the program's with a handle.
    Handle {
        /// What the handle is.
        kind: HandleKind,
        /// The message.
        message: Value,
    },
    /// A message of the program's.
    User(Value),
    /// A message of Node's that means nothing to a worker. If `cmd` is
    /// `NODE_HANDLE`, it is an envelope around such a message, and a handle goes
    /// with it that still has to be acknowledged.
    Unknown {
        /// The message's name.
        cmd: String,
    },
}

impl PrimaryMessage {
    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// When the frame is not of this dialect, or a field the message needs is
    /// missing or of the wrong type.
    pub fn parse(dialect: Dialect, frame: &[u8]) -> Result<Self, ParseError> {
        if envelope::is_handle_ack(dialect, frame) {
            return Ok(Self::HandleAck);
        }
        Self::from_value(envelope::parse_value(dialect, frame)?)
    }

    /// Appends the whole frame, newline or length prefix included. On an error
    /// `out` is left as it was.
    ///
    /// # Errors
    ///
    /// When a value cannot be written, a user message would be taken for one of
    /// Node's, or the message is [`Unknown`](Self::Unknown).
    pub fn encode(&self, dialect: Dialect, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::HandleAck => envelope::encode_cmd(dialect, HANDLE_ACK, out),
            Self::HandleNack => envelope::encode_cmd(dialect, HANDLE_NACK, out),
            Self::NewConnection { seq, key, transport } => {
                Self::encode_new_connection(dialect, *seq, key, *transport, out)
            }
            Self::Socket(answer) => {
                frame_writer::write_object(dialect, out, |fields| answer.write(fields))
            }
            Self::Agent(order) => {
                frame_writer::write_object(dialect, out, |fields| order.write(fields))
            }
            Self::Handle { kind, message } => {
                envelope::encode_user(dialect, Some(kind), message, out)
            }
            Self::User(message) => envelope::encode_user(dialect, None, message, out),
            Self::Unknown { cmd } => Err(EncodeError::Unknown { cmd: cmd.clone() }),
            Self::ServerReply { .. } | Self::Disconnect { .. } | Self::Ack { .. } => {
                frame_writer::write_object(dialect, out, |fields| self.write_cluster(fields))
            }
        }
    }

    /// Appends the frame of a [`NewConnection`](Self::NewConnection) without
    /// having to make one. It goes out once per connection, and allocates nothing
    /// if `out` has room.
    ///
    /// # Errors
    ///
    /// When `key` is longer than 4 GiB.
    pub fn encode_new_connection(
        dialect: Dialect,
        seq: u64,
        key: &str,
        transport: Transport,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        frame_writer::write_object(dialect, out, |fields| {
            envelope::begin(&HandleKind::NetNative, fields)?;
            fields.object("msg", |fields| {
                fields.string("cmd", CLUSTER)?;
                fields.string("act", "newconn")?;
                fields.string("key", key)?;
                fields.unsigned("seq", seq)
            })?;
            transport.write_hint(SocketRole::Connection, fields)
        })
    }

    /// Whether a handle goes with the message.
    pub fn needs_handle(&self) -> bool {
        match self {
            Self::NewConnection { .. } | Self::Handle { .. } => true,
            Self::ServerReply { reply, .. } => reply.handle.is_some(),
            Self::Unknown { cmd } => cmd == HANDLE,
            _ => false,
        }
    }

    fn from_value(message: Value) -> Result<Self, ParseError> {
        let Some(cmd) = envelope::internal_cmd(&message) else {
            return Ok(Self::User(message));
        };
        match cmd {
            CLUSTER => Self::from_cluster(message),
            HANDLE => Self::from_envelope(envelope::open(message)?),
            HANDLE_ACK => Ok(Self::HandleAck),
            HANDLE_NACK => Ok(Self::HandleNack),
            ALL_CLOSED | COUNT => Ok(Self::Socket(SocketAnswer::parse(Fields::of(&message))?)),
            FORKYARD => Ok(AgentOrder::parse(Fields::of(&message))?
                .map_or(Self::Unknown { cmd: FORKYARD.to_owned() }, Self::Agent)),
            unknown => Ok(Self::Unknown { cmd: unknown.to_owned() }),
        }
    }

    /// An answer with a key is one to `queryServer`.
    fn from_cluster(message: Value) -> Result<Self, ParseError> {
        let fields = Fields::of(&message);
        let seq = fields.seq()?;
        match (fields.narrow("ack")?, fields.any("key")) {
            (Some(ack), Some(_)) => {
                Ok(Self::ServerReply { ack, seq, reply: ServerReply::parse(message)? })
            }
            (Some(ack), None) => Ok(Self::Ack { ack, seq }),
            (None, _) => match fields.string("act")? {
                Some("disconnect") => Ok(Self::Disconnect { seq }),
                _ => Ok(Self::Unknown { cmd: CLUSTER.to_owned() }),
            },
        }
    }

    fn from_envelope(opened: Opened) -> Result<Self, ParseError> {
        match envelope::internal_cmd(&opened.message) {
            None => Ok(Self::Handle { kind: opened.kind, message: opened.message }),
            Some(CLUSTER) => Self::from_cluster_with_handle(opened),
            Some(_) => Ok(Self::Unknown { cmd: HANDLE.to_owned() }),
        }
    }

    fn from_cluster_with_handle(opened: Opened) -> Result<Self, ParseError> {
        let Opened { kind, transport, message } = opened;
        let fields = Fields::of(&message);
        let seq = fields.seq()?;
        if let Some(ack) = fields.narrow("ack")? {
            let reply =
                ServerReply { handle: Some(kind), transport, ..ServerReply::parse(message)? };
            return Ok(Self::ServerReply { ack, seq, reply });
        }
        if fields.string("act")? != Some("newconn") {
            return Ok(Self::Unknown { cmd: HANDLE.to_owned() });
        }
        let key = fields.required_string("key")?.to_owned();
        Ok(Self::NewConnection { seq: fields.required("seq")?, key, transport })
    }

    fn write_cluster(&self, fields: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
        match self {
            Self::ServerReply { ack, seq, reply } => write_reply(fields, *ack, *seq, reply),
            Self::Disconnect { seq } => {
                fields.string("cmd", CLUSTER)?;
                fields.string("act", "disconnect")?;
                fields.unsigned("seq", *seq)
            }
            Self::Ack { ack, seq } => {
                fields.string("cmd", CLUSTER)?;
                fields.unsigned("ack", *ack)?;
                fields.unsigned("seq", *seq)
            }
            _ => Err(EncodeError::Malformed { what: "message of the cluster" }),
        }
    }
}

fn write_reply(
    fields: &mut FrameWriter<'_>,
    ack: u64,
    seq: u64,
    reply: &ServerReply,
) -> Result<(), EncodeError> {
    let write = |fields: &mut FrameWriter<'_>| {
        fields.string("cmd", CLUSTER)?;
        reply.write(fields)?;
        fields.unsigned("ack", ack)?;
        fields.unsigned("seq", seq)
    };
    let Some(kind) = &reply.handle else {
        return write(fields);
    };
    envelope::begin(kind, fields)?;
    fields.object("msg", write)?;
    reply.transport.write_hint(SocketRole::Listener, fields)
}
