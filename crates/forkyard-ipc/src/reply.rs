//! What a primary answers when a worker asks for a listener.

use crate::fields::Fields;
use crate::frame_writer::FrameWriter;
use crate::query::detach_data;
use crate::{EncodeError, HandleKind, ParseError, Transport, Value};

/// The answer to `queryServer`.
///
/// Whether it brings a handle decides how the worker listens: with one, the
/// worker accepts connections itself; without, it waits to be handed some.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerReply {
    /// 0, or the negative number of the error that the program's `listen` gets,
    /// as the platform counts them (−98: the address is in use).
    pub errno: i32,
    /// Names the listener in `newconn` and `close`. The worker asserts that no two
    /// of its listeners have the same.
    pub key: String,
    /// What the first worker's query brought. A TLS server throws if it is `None`.
    pub data: Option<Value>,
    /// The bound address, for TCP without a handle. The worker compares its port
    /// with the one it asked for.
    pub sockname: Option<SockName>,
    /// The kind of the listening socket that goes with the reply, if one does.
    pub handle: Option<HandleKind>,
    /// What kind of listener it is. Written only if a handle goes with the reply.
    pub transport: Transport,
}

/// A bound address, as Node's `server.address()` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SockName {
    /// The IP address in text.
    pub address: String,
    /// The address family.
    pub family: Family,
    /// The port.
    pub port: u16,
}

/// An address family, as Node spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// `IPv4`
    IPv4,
    /// `IPv6`
    IPv6,
}

impl ServerReply {
    /// Reads a reply that came without an envelope.
    pub(crate) fn parse(message: Value) -> Result<Self, ParseError> {
        let fields = Fields::of(&message);
        let reply = Self {
            errno: fields.narrow("errno")?.unwrap_or(0),
            key: fields.required_string("key")?.to_owned(),
            data: None,
            sockname: fields.any("sockname").map(SockName::parse).transpose()?,
            handle: None,
            transport: Transport::Tcp,
        };
        Ok(Self { data: detach_data(message)?, ..reply })
    }

    pub(crate) fn write(&self, fields: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
        match (self.errno, &self.handle) {
            // Node's primary says null where it hands out connections itself.
            (0, None) => fields.null("errno")?,
            (errno, _) => fields.signed("errno", i64::from(errno))?,
        }
        fields.string("key", &self.key)?;
        fields.value("data", self.data.as_ref().unwrap_or(&Value::Null))?;
        match &self.sockname {
            Some(name) => fields.object("sockname", |fields| name.write(fields)),
            None => Ok(()),
        }
    }
}

impl SockName {
    fn parse(value: &Value) -> Result<Self, ParseError> {
        let fields = Fields::of(value);
        Ok(Self {
            address: fields.required_string("address")?.to_owned(),
            family: Family::parse(fields.required_string("family")?)?,
            port: fields.required("port")?,
        })
    }

    fn write(&self, fields: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
        fields.string("address", &self.address)?;
        fields.string("family", self.family.as_str())?;
        fields.unsigned("port", u64::from(self.port))
    }
}

impl Family {
    /// The name, as Node spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IPv4 => "IPv4",
            Self::IPv6 => "IPv6",
        }
    }

    fn parse(name: &str) -> Result<Self, ParseError> {
        match name {
            "IPv4" => Ok(Self::IPv4),
            "IPv6" => Ok(Self::IPv6),
            _ => Err(ParseError::WrongType { field: "family" }),
        }
    }
}
