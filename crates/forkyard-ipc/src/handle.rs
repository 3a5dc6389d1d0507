//! What an envelope (`NODE_HANDLE`) says about the descriptor that goes with it.

use crate::fields::Fields;
use crate::frame_writer::FrameWriter;
use crate::{EncodeError, ParseError};

/// What the receiver makes of a descriptor: the envelope's `type`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HandleKind {
    /// `net.Native`: a raw TCP or Unix socket. What the cluster uses.
    NetNative,
    /// `net.Server`: a listening socket.
    NetServer,
    /// `net.Socket`: a connection.
    NetSocket {
        /// The key of the server it came from, in the sender's own words, if it
        /// came from one. The sender counts its connections by it.
        key: Option<String>,
    },
    /// `dgram.Native`: a raw UDP socket. What the cluster uses.
    DgramNative,
    /// `dgram.Socket`: a UDP socket.
    DgramSocket {
        /// `udp4` or `udp6`.
        dgram_type: Option<String>,
    },
    /// `net.BoundSocket`: a bound socket that does not listen. Node 26.
    BoundSocket,
    /// Any other. A Node process that receives it throws a `TypeError`.
    Other(String),
}

/// How bytes get to the socket that is sent.
///
/// Node sees that for itself. Deno needs to be told: without a hint it takes
/// every handle for a TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Transport {
    /// TCP, over IPv4 or IPv6.
    #[default]
    Tcp,
    /// A Unix socket.
    Pipe,
    /// UDP.
    Udp,
}

/// Whether a stream socket carries a connection or listens for them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SocketRole {
    Connection,
    Listener,
}

impl HandleKind {
    /// The envelope's `type`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::NetNative => "net.Native",
            Self::NetServer => "net.Server",
            Self::NetSocket { .. } => "net.Socket",
            Self::DgramNative => "dgram.Native",
            Self::DgramSocket { .. } => "dgram.Socket",
            Self::BoundSocket => "net.BoundSocket",
            Self::Other(name) => name,
        }
    }

    /// Reads the fields of an envelope.
    pub(crate) fn parse(envelope: Fields<'_>) -> Result<Self, ParseError> {
        Ok(match envelope.required_string("type")? {
            "net.Native" => Self::NetNative,
            "net.Server" => Self::NetServer,
            "net.Socket" => Self::NetSocket { key: owned(envelope.string("key")?) },
            "dgram.Native" => Self::DgramNative,
            "dgram.Socket" => {
                Self::DgramSocket { dgram_type: owned(envelope.string("dgramType")?) }
            }
            "net.BoundSocket" => Self::BoundSocket,
            other => Self::Other(other.to_owned()),
        })
    }

    /// Writes the fields of an envelope.
    pub(crate) fn write(&self, envelope: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
        envelope.string("type", self.as_str())?;
        match self {
            Self::NetSocket { key: Some(key) } => envelope.string("key", key),
            Self::DgramSocket { dgram_type: Some(name) } => envelope.string("dgramType", name),
            _ => Ok(()),
        }
    }
}

impl Transport {
    /// What an envelope says. Nothing said is TCP, or UDP for that kind of handle.
    pub(crate) fn parse(envelope: Fields<'_>, kind: &HandleKind) -> Result<Self, ParseError> {
        match (kind, envelope.string("nativeKind")?) {
            (HandleKind::DgramNative | HandleKind::DgramSocket { .. }, _) => Ok(Self::Udp),
            (_, None | Some("tcp")) => Ok(Self::Tcp),
            (_, Some("pipe")) => Ok(Self::Pipe),
            _ => Err(ParseError::WrongType { field: "nativeKind" }),
        }
    }

    /// Writes Deno's hints. Node ignores them.
    pub(crate) fn write_hint(
        self,
        role: SocketRole,
        envelope: &mut FrameWriter<'_>,
    ) -> Result<(), EncodeError> {
        let native = match self {
            Self::Tcp => "tcp",
            Self::Pipe => "pipe",
            Self::Udp => return Ok(()),
        };
        envelope.string("nativeKind", native)?;
        envelope.unsigned("socketType", role.number())
    }
}

impl SocketRole {
    const fn number(self) -> u64 {
        match self {
            Self::Connection => 0,
            Self::Listener => 1,
        }
    }
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}
