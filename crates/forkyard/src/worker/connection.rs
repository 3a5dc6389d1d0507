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

/// A client's connection: the client's own socket, with nothing in between.
#[derive(Debug)]
pub enum Connection {
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

impl Connection {
    /// Takes over a connected socket.
    pub(super) fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        forkyard_sys::sockets::set_nonblocking(&socket)?;
        match forkyard_sys::sockets::socket_kind(socket.as_fd())? {
            Some(SocketKind::Tcp) => TcpStream::from_std(socket.into()).map(Self::Tcp),
            Some(SocketKind::UnixStream) => UnixStream::from_std(socket.into()).map(Self::Unix),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no stream socket")),
        }
    }

    /// Who is at the other end.
    ///
    /// # Errors
    ///
    /// If the client is gone already.
    pub fn peer_address(&self) -> io::Result<PeerAddress> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().map(PeerAddress::Inet),
            Self::Unix(_) => Ok(PeerAddress::Unix),
        }
    }
}

/// Calls a method of whichever stream it is.
macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Connection::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Connection::Unix(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_read(cx, buffer))
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
