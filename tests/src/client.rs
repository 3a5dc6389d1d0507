//! A client that takes nothing kindly: it never retries, and it says of every request
//! that went wrong how it went wrong.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::DEADLINE;
use crate::tls::Trust;
use crate::transport::{Duplex, Transport};

/// Where a server is.
#[derive(Clone, Debug)]
pub enum Target {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP address where TLS is spoken.
    Tls {
        /// The address.
        address: SocketAddr,
        /// Who is expected there.
        trust: Trust,
    },
}

impl Target {
    /// A port of 127.0.0.1.
    #[must_use]
    pub fn port(port: u16) -> Self {
        Self::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// A Unix socket.
    #[must_use]
    pub fn unix(path: &Path) -> Self {
        Self::Unix(path.to_path_buf())
    }
}

/// How a request went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listened.
    Refused,
    /// The connection was reset.
    Reset,
    /// The connection was closed before the answer was complete.
    Closed,
    /// No answer within the deadline.
    TimedOut,
    /// The right answer, but over the deadline.
    Late(Duration),
    /// An answer, but not to what was asked.
    Wrong(String),
    /// Anything else.
    Other(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match Self::from(error.kind()) {
            Self::Other(_) => Self::Other(error.to_string()),
            known => known,
        }
    }
}

impl From<ErrorKind> for Failure {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => Self::Refused,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
                Self::Reset
            }
            ErrorKind::UnexpectedEof => Self::Closed,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::TimedOut,
            other => Self::Other(other.to_string()),
        }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
    /// Whether the server keeps the connection open.
    pub keeps_alive: bool,
}

impl Reply {
    /// The body as JSON, `Null` if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The process that answered.
    ///
    /// # Panics
    ///
    /// When the body does not name it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        let pid = self.json()["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        pid.unwrap_or_else(|| panic!("an answer without a pid: {self:?}"))
    }
}

/// A connection with a request on it that may not have been answered yet.
pub struct Connection {
    stream: BufReader<Box<dyn Duplex>>,
    local_port: u16,
}

/// Whether the client wants to ask again on the same connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// `Connection: close`.
    Close,
    /// HTTP/1.1's own way.
    KeepAlive,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("local_port", &self.local_port).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] and its like.
    pub fn open(target: &Target) -> Result<Self, Failure> {
        Self::open_within(target, DEADLINE)
    }

    /// Connects, and waits for nothing on it for longer than `patience`.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] and its like.
    pub fn open_within(target: &Target, patience: Duration) -> Result<Self, Failure> {
        let Transport { stream, local_port } = Transport::open(target, patience)?;
        Ok(Self { stream: BufReader::new(stream), local_port })
    }

    /// The client's port, by which the server knows the connection. 0 on Unix sockets.
    #[must_use]
    pub fn local_port(&self) -> u16 {
        self.local_port
    }

    /// Sends bytes.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        Ok(stream.flush()?)
    }

    /// Sends a GET.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn ask(&mut self, path: &str, reuse: Reuse) -> Result<(), Failure> {
        let close = if reuse == Reuse::Close { "Connection: close\r\n" } else { "" };
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{close}\r\n").as_bytes())
    }

    /// Reads one line, without its end.
    ///
    /// # Errors
    ///
    /// When the connection ends first.
    pub fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        let length = self.stream.read_line(&mut line)?;
        if length == 0 || !line.ends_with('\n') {
            return Err(Failure::Closed);
        }
        Ok(line.trim_end().to_owned())
    }

    /// Reads all that comes until the other side closes.
    ///
    /// # Errors
    ///
    /// When the connection breaks instead.
    pub fn rest(&mut self) -> Result<String, Failure> {
        let mut text = String::new();
        self.stream.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Reads the answer to the request sent before.
    ///
    /// # Errors
    ///
    /// When it does not come, not whole, or is no HTTP.
    pub fn answer(&mut self) -> Result<Reply, Failure> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or(Failure::Wrong(status_line))?;
        let head = self.head()?;
        let body = match head.body {
            Body::Length(length) => self.exactly(length)?,
            Body::Chunked => self.chunks()?,
            Body::ToTheEnd => self.rest()?,
        };
        Ok(Reply { status, body, keeps_alive: head.keeps_alive })
    }

    fn head(&mut self) -> Result<Head, Failure> {
        let mut head = Head { body: Body::ToTheEnd, keeps_alive: true };
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                return Ok(head);
            }
            match line.split_once(": ") {
                Some(("content-length", length)) => {
                    let length = length.parse().map_err(|_| Failure::Wrong(line.clone()))?;
                    head.body = Body::Length(length);
                }
                Some(("transfer-encoding", "chunked")) => head.body = Body::Chunked,
                Some(("connection", "close")) => head.keeps_alive = false,
                _ => {}
            }
        }
    }

    fn chunks(&mut self) -> Result<String, Failure> {
        let mut body = String::new();
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(&line, 16).map_err(|_| Failure::Wrong(line))?;
            body.push_str(&self.exactly(size)?);
            self.line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn exactly(&mut self, length: usize) -> Result<String, Failure> {
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        String::from_utf8(body).map_err(|_| Failure::Wrong("a body that is not UTF-8".into()))
    }
}

struct Head {
    body: Body,
    keeps_alive: bool,
}

enum Body {
    Length(usize),
    Chunked,
    ToTheEnd,
}

/// Asks once, on a connection of its own.
///
/// # Errors
///
/// When no complete answer comes.
pub fn get(target: &Target, path: &str) -> Result<Reply, Failure> {
    let mut connection = asked(target, path)?;
    connection.answer()
}

/// Asks, and leaves the answer to be read later.
///
/// # Errors
///
/// When the question cannot be sent.
pub fn asked(target: &Target, path: &str) -> Result<Connection, Failure> {
    let mut connection = Connection::open(target)?;
    connection.ask(path, Reuse::Close)?;
    Ok(connection)
}

/// Connects and reads what the server says before it closes.
///
/// # Errors
///
/// When the connection breaks.
pub fn read_all(target: &Target) -> Result<String, Failure> {
    Connection::open(target)?.rest()
}
