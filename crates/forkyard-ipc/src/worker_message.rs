//! What a worker sends and a primary receives.

use crate::agent::FORKYARD;
use crate::envelope::{self, CLUSTER, HANDLE, HANDLE_ACK, HANDLE_NACK};
use crate::fields::Fields;
use crate::frame_writer::{self, FrameWriter};
use crate::socket::{GET_COUNT, NOTIFY_CLOSE};
use crate::{
    AgentReport, Dialect, EncodeError, HandleKind, ParseError, ServerQuery, SocketQuery, Value,
};

/// A message from a worker.
///
/// `seq` numbers the messages of one process. A reply says in `ack` which
/// message it answers.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkerMessage {
    /// The oldest handle not yet acknowledged has arrived.
    HandleAck,
    /// An envelope has arrived without its handle, which is lost.
    HandleNack,
    /// The worker has started. The first message of all.
    Online {
        /// The message's number.
        seq: u64,
    },
    /// The program listens; the worker asks for the listener.
    QueryServer {
        /// The number to be named in the reply.
        seq: u64,
        /// What is asked for.
        query: ServerQuery,
    },
    /// A listener is in use.
    Listening {
        /// The message's number.
        seq: u64,
        /// The query it began with, with the real port.
        query: ServerQuery,
    },
    /// A listener is not in use any more.
    Close {
        /// The message's number.
        seq: u64,
        /// The listener's key.
        key: String,
    },
    /// The worker is about to leave of its own will, and waits for the answer.
    ExitedAfterDisconnect {
        /// The number to be named in the answer.
        seq: u64,
    },
    /// The answer to a connection handed on.
    Reply {
        /// The number of the message that brought the connection.
        ack: u64,
        /// Whether the worker serves it. Without a word about it, it does not.
        accepted: bool,
    },
    /// A question about sockets that were sent away.
    Socket(SocketQuery),
    /// Something from Forkyard's agent.
    Agent(AgentReport),
    /// A message of the program's with a handle.
    Handle {
        /// What the handle is.
        kind: HandleKind,
        /// The message.
        message: Value,
    },
    /// A message of the program's.
    User(Value),
    /// A message of Node's that means nothing to a primary. If `cmd` is
    /// `NODE_HANDLE`, it is an envelope around such a message, and a handle goes
    /// with it that still has to be acknowledged.
    Unknown {
        /// The message's name.
        cmd: String,
    },
}

impl WorkerMessage {
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
        if dialect == Dialect::Json
            && let Some((ack, accepted)) = json_reply(frame)
        {
            return Ok(Self::Reply { ack, accepted });
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
            Self::Socket(query) => {
                frame_writer::write_object(dialect, out, |fields| query.write(fields))
            }
            Self::Agent(report) => {
                frame_writer::write_object(dialect, out, |fields| report.write(fields))
            }
            Self::Handle { kind, message } => {
                envelope::encode_user(dialect, Some(kind), message, out)
            }
            Self::User(message) => envelope::encode_user(dialect, None, message, out),
            Self::Unknown { cmd } => Err(EncodeError::Unknown { cmd: cmd.clone() }),
            _ => frame_writer::write_object(dialect, out, |fields| self.write_cluster(fields)),
        }
    }

    /// Whether a handle goes with the message.
    pub fn needs_handle(&self) -> bool {
        match self {
            Self::Handle { .. } => true,
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
            HANDLE => Self::from_envelope(message),
            HANDLE_ACK => Ok(Self::HandleAck),
            HANDLE_NACK => Ok(Self::HandleNack),
            NOTIFY_CLOSE | GET_COUNT => Ok(Self::Socket(SocketQuery::parse(Fields::of(&message))?)),
            FORKYARD => Ok(AgentReport::parse(Fields::of(&message))?
                .map_or(Self::Unknown { cmd: FORKYARD.to_owned() }, Self::Agent)),
            unknown => Ok(Self::Unknown { cmd: unknown.to_owned() }),
        }
    }

    fn from_cluster(message: Value) -> Result<Self, ParseError> {
        let fields = Fields::of(&message);
        if let Some(ack) = fields.narrow("ack")? {
            let accepted = fields.boolean("accepted")?.unwrap_or(false);
            return Ok(Self::Reply { ack, accepted });
        }
        let seq = fields.seq()?;
        match fields.string("act")?.unwrap_or_default() {
            "online" => Ok(Self::Online { seq }),
            "queryServer" => {
                let seq = fields.required("seq")?;
                Ok(Self::QueryServer { seq, query: ServerQuery::parse(message)? })
            }
            "listening" => Ok(Self::Listening { seq, query: ServerQuery::parse(message)? }),
            "close" => Ok(Self::Close { seq, key: fields.required_string("key")?.to_owned() }),
            "exitedAfterDisconnect" => {
                Ok(Self::ExitedAfterDisconnect { seq: fields.required("seq")? })
            }
            _ => Ok(Self::Unknown { cmd: CLUSTER.to_owned() }),
        }
    }

    /// Nothing of Node's own comes from a worker in an envelope.
    fn from_envelope(message: Value) -> Result<Self, ParseError> {
        let opened = envelope::open(message)?;
        if envelope::internal_cmd(&opened.message).is_some() {
            return Ok(Self::Unknown { cmd: HANDLE.to_owned() });
        }
        Ok(Self::Handle { kind: opened.kind, message: opened.message })
    }

    fn write_cluster(&self, fields: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
        fields.string("cmd", CLUSTER)?;
        match self {
            Self::Online { seq } => write_act(fields, "online", *seq),
            Self::QueryServer { seq, query } => {
                fields.string("act", "queryServer")?;
                query.write(fields)?;
                fields.unsigned("seq", *seq)
            }
            Self::Listening { seq, query } => {
                fields.string("act", "listening")?;
                query.write(fields)?;
                fields.unsigned("seq", *seq)
            }
            Self::Close { seq, key } => {
                fields.string("act", "close")?;
                fields.string("key", key)?;
                fields.unsigned("seq", *seq)
            }
            Self::ExitedAfterDisconnect { seq } => write_act(fields, "exitedAfterDisconnect", *seq),
            Self::Reply { ack, accepted } => {
                fields.unsigned("ack", *ack)?;
                fields.boolean("accepted", *accepted)
            }
            _ => Err(EncodeError::Malformed { what: "message of the cluster" }),
        }
    }
}

fn write_act(fields: &mut FrameWriter<'_>, act: &str, seq: u64) -> Result<(), EncodeError> {
    fields.string("act", act)?;
    fields.unsigned("seq", seq)
}

/// The reply as Node writes it in JSON: to which number, and whether accepted. One comes for
/// each connection handed on, so it is read by hand. `None` for whatever looks different, which
/// takes the general way.
fn json_reply(frame: &[u8]) -> Option<(u64, bool)> {
    let rest = frame.strip_prefix(br#"{"cmd":"NODE_CLUSTER","ack":"#)?;
    let (ack, rest) = json_number(rest)?;
    let rest = rest.strip_prefix(br#","accepted":"#)?;
    let (accepted, rest) = match rest.strip_prefix(b"true") {
        Some(rest) => (true, rest),
        None => (false, rest.strip_prefix(b"false")?),
    };
    let (_seq, rest) = json_number(rest.strip_prefix(br#","seq":"#)?)?;
    (rest == b"}").then_some((ack, accepted))
}

/// A whole number at the beginning, and what is behind it. At most 15 digits, which is what
/// JavaScript counts exactly.
fn json_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(digits)?;
    if !(1..=15).contains(&digits) || digits > 1 && number[0] == b'0' {
        return None;
    }
    Some((number.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the short way takes, the general way takes for the same.
    #[test]
    fn both_ways_read_the_same() {
        let with = |text: &str| format!(r#"{{"cmd":"NODE_CLUSTER","ack":{text}}}"#);
        for (text, is_short) in [
            (r#"0,"accepted":true,"seq":1"#, true),
            (r#"999999999999999,"accepted":false,"seq":999999999999999"#, true),
            (r#"1000000000000000,"accepted":true,"seq":1"#, false),
            (r#"7,"accepted":true"#, false),
            (r#"7,"accepted":1,"seq":1"#, false),
            (r#"7,"accepted":true,"seq":1,"more":1"#, false),
            (r#"7,"accepted":true,"seq":-1"#, false),
            (r#"7,"accepted":true ,"seq":1"#, false),
            (r#"07,"accepted":true,"seq":1"#, false),
            (r#","accepted":true,"seq":1"#, false),
            (r#"7.5,"accepted":true,"seq":1"#, false),
        ] {
            let frame = with(text);
            let short = json_reply(frame.as_bytes());
            assert_eq!(short.is_some(), is_short, "{text}");
            let Some((ack, accepted)) = short else { continue };
            let value = envelope::parse_value(Dialect::Json, frame.as_bytes()).unwrap();
            let general = WorkerMessage::from_value(value).unwrap();
            assert_eq!(general, WorkerMessage::Reply { ack, accepted }, "{text}");
        }
    }
}
