//! What messages of both directions have in common: how they are told apart and
//! how a message with a handle is wrapped.

use crate::fields::Fields;
use crate::frame_writer::{self, FrameWriter};
use crate::value::{ReferenceOutside, parse_json};
use crate::{Dialect, EncodeError, HandleKind, ParseError, Value, v8};

pub(crate) const CLUSTER: &str = "NODE_CLUSTER";
pub(crate) const HANDLE: &str = "NODE_HANDLE";
pub(crate) const HANDLE_ACK: &str = "NODE_HANDLE_ACK";
pub(crate) const HANDLE_NACK: &str = "NODE_HANDLE_NACK";

/// The frames of an acknowledgement, as Node writes them. One comes for each
/// connection handed on, so they are recognised without being parsed.
const JSON_ACK: &[u8] = br#"{"cmd":"NODE_HANDLE_ACK"}"#;
const ADVANCED_ACK: &[u8] = b"\xff\x0fo\"\x03cmd\"\x0fNODE_HANDLE_ACK{\x01";

/// An envelope that has been opened.
pub(crate) struct Opened {
    pub(crate) kind: HandleKind,
    pub(crate) transport: crate::Transport,
    pub(crate) message: Value,
}

pub(crate) fn is_handle_ack(dialect: Dialect, frame: &[u8]) -> bool {
    match dialect {
        Dialect::Json => frame == JSON_ACK,
        Dialect::Advanced => frame == ADVANCED_ACK,
    }
}

pub(crate) fn parse_value(dialect: Dialect, frame: &[u8]) -> Result<Value, ParseError> {
    match dialect {
        Dialect::Json => parse_json(frame).map_err(|source| ParseError::Json { source }),
        Dialect::Advanced => Ok(v8::read(frame)?),
    }
}

/// The `cmd` of a message that is Node's own and not the program's.
///
/// The rule is Node's: an object whose `cmd` is a string that begins with
/// `NODE_` and does not end there.
pub(crate) fn internal_cmd(message: &Value) -> Option<&str> {
    const PREFIX: &str = "NODE_";
    let cmd = message.get("cmd")?.as_str()?;
    (cmd.len() > PREFIX.len() && cmd.starts_with(PREFIX)).then_some(cmd)
}

/// Takes a message out of its envelope.
pub(crate) fn open(envelope: Value) -> Result<Opened, ParseError> {
    let fields = Fields::of(&envelope);
    let kind = HandleKind::parse(fields)?;
    let transport = crate::Transport::parse(fields, &kind)?;
    let message = envelope
        .detach("msg")
        .map_err(|ReferenceOutside| ParseError::EnvelopeReference { field: "msg" })?
        .ok_or(ParseError::MissingField { field: "msg" })?;
    Ok(Opened { kind, transport, message })
}

/// Begins an envelope: everything but the message in it.
pub(crate) fn begin(kind: &HandleKind, fields: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
    fields.string("cmd", HANDLE)?;
    kind.write(fields)
}

pub(crate) fn encode_cmd(
    dialect: Dialect,
    cmd: &str,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    frame_writer::write_object(dialect, out, |fields| fields.string("cmd", cmd))
}

/// Writes a message of the program's, with the envelope a handle needs.
pub(crate) fn encode_user(
    dialect: Dialect,
    kind: Option<&HandleKind>,
    message: &Value,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if let Some(cmd) = internal_cmd(message) {
        return Err(EncodeError::Reserved { cmd: cmd.to_owned() });
    }
    match kind {
        None => frame_writer::write_value(dialect, out, message),
        Some(kind) => frame_writer::write_object(dialect, out, |fields| {
            begin(kind, fields)?;
            fields.value("msg", message)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_acknowledgements_are_what_is_written() {
        for dialect in [Dialect::Json, Dialect::Advanced] {
            let mut out = Vec::new();
            encode_cmd(dialect, HANDLE_ACK, &mut out).unwrap();
            let mut decoder = crate::Decoder::new(dialect, 100);
            decoder.feed(&out);
            assert!(is_handle_ack(dialect, decoder.next_frame().unwrap().unwrap()));
        }
    }

    #[test]
    fn messages_are_told_apart_by_nodes_rule() {
        let with = |cmd: Value| Value::object([("cmd", cmd)]);
        assert_eq!(internal_cmd(&with("NODE_X".into())), Some("NODE_X"));
        assert_eq!(internal_cmd(&with("NODE_".into())), None);
        assert_eq!(internal_cmd(&with("node_x".into())), None);
        assert_eq!(internal_cmd(&with(7.into())), None);
        assert_eq!(internal_cmd(&"NODE_X".into()), None);
        assert_eq!(internal_cmd(&Value::Null), None);
    }
}
