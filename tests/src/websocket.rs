//! WebSockets: what stays open for long and is no request.

use std::io::ErrorKind;
use std::time::Duration;

use tungstenite::{Error, Message};

use crate::DEADLINE;
use crate::client::{Failure, Reply, Target};
use crate::load::{Asked, Client};
use crate::transport::{Duplex, Transport};

/// An open WebSocket to a server that answers each message.
pub struct WebSocket {
    socket: tungstenite::WebSocket<Box<dyn Duplex>>,
    local_port: u16,
}

impl std::fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocket").field("local_port", &self.local_port).finish_non_exhaustive()
    }
}

impl WebSocket {
    /// Connects and upgrades.
    ///
    /// # Errors
    ///
    /// When the server does not agree to.
    pub fn open(target: &Target) -> Result<Self, Failure> {
        Self::open_within(target, DEADLINE)
    }

    fn open_within(target: &Target, patience: Duration) -> Result<Self, Failure> {
        let Transport { stream, local_port } = Transport::open(target, patience)?;
        let (socket, _) = tungstenite::client("ws://localhost/", stream)
            .map_err(|error| Failure::Other(error.to_string()))?;
        Ok(Self { socket, local_port })
    }

    /// Sends a message and waits for the answer to it.
    ///
    /// # Errors
    ///
    /// When the connection ends first.
    pub fn ask(&mut self, text: &str) -> Result<Reply, Failure> {
        self.socket.send(Message::text(text)).map_err(failure)?;
        loop {
            match self.socket.read().map_err(failure)? {
                Message::Text(answer) => {
                    return Ok(Reply { status: 200, body: answer.to_string(), keeps_alive: true });
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => return Err(Failure::Wrong(format!("{other:?}"))),
            }
        }
    }

    /// Waits until the server ends the connection, and says how it did.
    ///
    /// # Panics
    ///
    /// When the server says something instead, or nothing at all until the [`DEADLINE`].
    #[must_use]
    pub fn wait_end(mut self) -> Failure {
        match self.socket.read().map_err(failure) {
            Err(Failure::TimedOut) => panic!("nobody ends the WebSocket"),
            Err(end) => end,
            Ok(Message::Close(_)) => Failure::Closed,
            Ok(message) => panic!("nobody asked for {message:?}"),
        }
    }
}

/// A client that asks by messages, as long as it can on the same WebSocket.
pub(crate) struct Messages {
    pub(crate) target: Target,
    pub(crate) patience: Duration,
    pub(crate) open: Option<WebSocket>,
}

impl Client for Messages {
    fn ask(&mut self, path: &str) -> Asked {
        let opened = match self.open.take() {
            Some(socket) => Ok(socket),
            None => WebSocket::open_within(&self.target, self.patience),
        };
        let mut socket = match opened {
            Ok(socket) => socket,
            Err(failure) => return Asked { local_port: 0, answer: Err(failure) },
        };
        let (local_port, answer) = (socket.local_port, socket.ask(path));
        if answer.is_ok() {
            self.open = Some(socket);
        }
        Asked { local_port, answer }
    }
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Io(error) => error.into(),
        Error::ConnectionClosed | Error::AlreadyClosed => Failure::Closed,
        // The end of the stream without a closing frame.
        Error::Protocol(_) => ErrorKind::UnexpectedEof.into(),
        other => Failure::Other(other.to_string()),
    }
}
