//! A client's connection, over TCP or a Unix socket.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use forkyard_sys::sockets::SocketKind;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::departure::Hold;

/// A client's connection: the client's own socket, with nothing in between.
#[derive(Debug)]
pub struct Connection {
    socket: ClientSocket,
    /// Held until something was read.
    unread: Option<Hold>,
}

/// The socket of a [`Connection`].
#[derive(Debug)]
pub enum ClientSocket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerAddress {
    /// Somebody over TCP.
    Inet(SocketAddr),
    /// Somebody on this machine; Unix sockets' clients have no address.
    Unix,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

impl ClientSocket {
    /// Takes over a connected socket.
    pub(super) fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        forkyard_sys::sockets::set_nonblocking(&socket)?;
        match forkyard_sys::sockets::socket_kind(socket.as_fd())? {
            Some(SocketKind::Tcp) => TcpStream::from_std(socket.into()).map(Self::Tcp),
            Some(SocketKind::UnixStream) => UnixStream::from_std(socket.into()).map(Self::Unix),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no stream socket")),
        }
    }

    pub(super) fn peer_address(&self) -> io::Result<PeerAddress> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().map(PeerAddress::Inet),
            Self::Unix(_) => Ok(PeerAddress::Unix),
        }
    }
}

impl Connection {
    pub(super) fn new(socket: ClientSocket, unread: Hold) -> Self {
        Self { socket, unread: Some(unread) }
    }

    /// Who is at the other end.
    ///
    /// # Errors
    ///
    /// If the client is gone already.
    pub fn peer_address(&self) -> io::Result<PeerAddress> {
        self.socket.peer_address()
    }

    /// The socket, to look at it or to set its options.
    #[must_use]
    pub fn socket(&self) -> &ClientSocket {
        &self.socket
    }

    /// The socket alone. Once it is taken, [`Worker::leaving`](crate::Worker::leaving) does
    /// not wait for what the client says first.
    #[must_use]
    pub fn into_socket(self) -> ClientSocket {
        self.socket
    }
}

/// Calls a method of whichever stream it is.
macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.get_mut().socket {
            ClientSocket::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            ClientSocket::Unix(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.as_mut();
        let read = delegate!(this, stream => stream.poll_read(cx, buffer));
        if read.is_ready() {
            self.unread = None;
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => stream.poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_shutdown(cx))
    }
}
