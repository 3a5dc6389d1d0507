//! What a worker asks for when its program listens.

use crate::fields::Fields;
use crate::frame_writer::FrameWriter;
use crate::value::ReferenceOutside;
use crate::{EncodeError, ParseError, Value};

/// The fields of `queryServer`, and of `listening`, which repeats them.
///
/// Node passes on unchanged what the program gave for the port of a UDP socket,
/// for the backlog and for who may use a Unix socket: text, `null`, objects, or
/// `false` as the backlog of `listen(port, host, callback)`. These are read as
/// JavaScript would convert them, and never make a query unreadable.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerQuery {
    /// Tells apart queries of this worker for the same address.
    pub index: u64,
    /// The address: an IP address in text, or the path of a Unix socket. `None`:
    /// all addresses, or [`fd`](Self::fd) says which.
    pub address: Option<String>,
    /// The port; 0 for any, −1 for a Unix socket. In `listening`, the real one.
    /// `None`: a UDP socket takes any, or [`fd`](Self::fd) says which.
    pub port: Option<i64>,
    /// The kind of socket.
    pub address_type: AddressType,
    /// A descriptor of the *primary* to listen on. UDP sockets say −1 for none.
    pub fd: Option<i64>,
    /// libuv's flags for binding: TCP 1 IPv6 only, 2 reuse port; UDP 1 IPv6 only,
    /// 4 reuse address, 64 reuse port.
    pub flags: u32,
    /// How many connections may wait; `None` if the program gave no number.
    pub backlog: Option<i64>,
    /// Unix sockets: everybody may read.
    pub readable_all: bool,
    /// Unix sockets: everybody may write.
    pub writable_all: bool,
    /// What servers of the same key share: a TLS server's ticket keys. The reply
    /// has to bring the first worker's back.
    pub data: Option<Value>,
}

/// The kind of socket a worker asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressType {
    /// TCP over IPv4, and over IPv6 too where no address is given: `4`.
    Tcp4,
    /// TCP over IPv6: `6`.
    Tcp6,
    /// A Unix socket: `-1`.
    Unix,
    /// UDP over IPv4: `"udp4"`.
    Udp4,
    /// UDP over IPv6: `"udp6"`.
    Udp6,
    /// Whatever the descriptor in [`ServerQuery::fd`] is: `null`, as written for
    /// `listen({fd})`.
    Descriptor,
}

impl AddressType {
    /// Whether it is UDP.
    pub const fn is_udp(self) -> bool {
        matches!(self, Self::Udp4 | Self::Udp6)
    }

    fn parse(value: Option<&Value>) -> Option<Self> {
        match value {
            None => Some(Self::Descriptor),
            Some(Value::String(name)) => Self::parse_name(name),
            Some(value) => value.as_f64().and_then(Self::parse_number),
        }
    }

    fn parse_name(name: &str) -> Option<Self> {
        match name {
            "udp4" => Some(Self::Udp4),
            "udp6" => Some(Self::Udp6),
            _ => None,
        }
    }

    fn parse_number(number: f64) -> Option<Self> {
        [(4.0, Self::Tcp4), (6.0, Self::Tcp6), (-1.0, Self::Unix)]
            .into_iter()
            .find_map(|(known, kind)| (known == number).then_some(kind))
    }

    fn write(self, fields: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
        let name = "addressType";
        match self {
            Self::Tcp4 => fields.signed(name, 4),
            Self::Tcp6 => fields.signed(name, 6),
            Self::Unix => fields.signed(name, -1),
            Self::Udp4 => fields.string(name, "udp4"),
            Self::Udp6 => fields.string(name, "udp6"),
            Self::Descriptor => fields.null(name),
        }
    }
}

impl ServerQuery {
    pub(crate) fn parse(message: Value) -> Result<Self, ParseError> {
        let fields = Fields::of(&message);
        let query = Self {
            index: fields.narrow("index")?.unwrap_or(0),
            address: fields.string("address")?.map(str::to_owned),
            port: fields.loose_integer("port"),
            address_type: parse_address_type(fields)?,
            fd: fields.integer("fd")?,
            flags: fields.narrow("flags")?.unwrap_or(0),
            backlog: fields.loose_integer("backlog").filter(|backlog| *backlog != 0),
            readable_all: fields.loose_boolean("readableAll"),
            writable_all: fields.loose_boolean("writableAll"),
            data: None,
        };
        Ok(Self { data: detach_data(message)?, ..query })
    }

    pub(crate) fn write(&self, fields: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
        fields.unsigned("index", self.index)?;
        fields.value("data", self.data.as_ref().unwrap_or(&Value::Null))?;
        match &self.address {
            Some(address) => fields.string("address", address)?,
            None => fields.null("address")?,
        }
        match self.port {
            Some(port) => fields.signed("port", port)?,
            None => fields.null("port")?,
        }
        self.address_type.write(fields)?;
        self.write_options(fields)
    }

    fn write_options(&self, fields: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
        if let Some(fd) = self.fd {
            fields.signed("fd", fd)?;
        }
        fields.unsigned("flags", u64::from(self.flags))?;
        if let Some(backlog) = self.backlog {
            fields.signed("backlog", backlog)?;
        }
        if self.readable_all {
            fields.boolean("readableAll", true)?;
        }
        if self.writable_all {
            fields.boolean("writableAll", true)?;
        }
        Ok(())
    }
}

fn parse_address_type(fields: Fields<'_>) -> Result<AddressType, ParseError> {
    let name = "addressType";
    AddressType::parse(fields.any(name)).ok_or(ParseError::WrongType { field: name })
}

/// Takes the shared data out of a query or a reply.
pub(crate) fn detach_data(message: Value) -> Result<Option<Value>, ParseError> {
    let data = message
        .detach("data")
        .map_err(|ReferenceOutside| ParseError::EnvelopeReference { field: "data" })?;
    Ok(data.filter(|data| !data.is_nullish()))
}
