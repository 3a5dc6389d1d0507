//! A listener shared with the other workers.

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use forkyard_sys::sockets::LocalAddress;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot};

use super::connection::{ClientSocket, Connection, PeerAddress};
use super::departure::Holds;

/// Where connections come from.
#[derive(Debug)]
pub(super) struct Source {
    /// The primary hands them over, under some policies now and then.
    pub(super) handed_over: mpsc::Receiver<OwnedFd>,
    /// The worker accepts by itself, if the policy says so.
    pub(super) socket: Option<ListeningSocket>,
}

/// A socket that a worker accepts from: one that all workers share, or its own.
#[derive(Debug)]
pub(super) enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Gives this worker's share of the connections to an address.
///
/// Besides [`accept`](Self::accept) it is a [`Stream`](futures_core::Stream) of connections,
/// and with the feature `axum` a listener for `axum::serve`. Dropping it tells the primary
/// that this worker serves the address no longer.
///
/// When the worker shall leave, it gives the connections that were handed over before, and
/// ends. The worker is not told to leave ([`Worker::leaving`](crate::Worker::leaving)) until
/// its listeners have ended or are dropped, so go on accepting until then.
#[derive(Debug)]
pub struct Listener {
    /// `None` once it has ended.
    open: Option<Open>,
    address: LocalAddress,
    /// Its sender sees from it when the listener is dropped.
    _ended: oneshot::Receiver<Infallible>,
}

/// What only a listener has that has not ended.
#[derive(Debug)]
struct Open {
    source: Source,
    holds: Holds,
}

impl Listener {
    pub(super) fn new(
        source: Source,
        address: LocalAddress,
        ended: oneshot::Receiver<Infallible>,
        holds: Holds,
    ) -> Self {
        Self { open: Some(Open { source, holds }), address, _ended: ended }
    }

    /// Where it listens; the port is the real one.
    #[must_use]
    pub fn local_address(&self) -> &LocalAddress {
        &self.address
    }

    /// The next connection.
    ///
    /// # Errors
    ///
    /// `NotConnected` when the worker leaves the cluster: no connection will follow.
    /// Anything else concerns one connection only.
    pub async fn accept(&mut self) -> io::Result<(Connection, PeerAddress)> {
        let accepted = std::future::poll_fn(|cx| self.poll_accept(cx)).await;
        accepted.unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()))
    }

    /// As [`accept`](Self::accept); `None` when the worker leaves the cluster.
    pub fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<(Connection, PeerAddress)>>> {
        let Some(open) = &mut self.open else { return Poll::Ready(None) };
        let Some(accepted) = ready!(open.source.poll_accept(cx)) else {
            self.open = None;
            return Poll::Ready(None);
        };
        let connection = |socket| Connection::new(socket, open.holds.connection.clone());
        Poll::Ready(Some(accepted.map(|(socket, peer)| (connection(socket), peer))))
    }
}

type Accepted = io::Result<(ClientSocket, PeerAddress)>;

impl Source {
    /// The next connection; `None` when there will be none.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Accepted>> {
        // Whoever leaves is handed nothing more, and takes nothing that another could have.
        match (self.handed_over.poll_recv(cx), &mut self.socket) {
            (Poll::Pending, Some(socket)) => socket.poll_accept(cx).map(Some),
            (handed_over, _) => handed_over.map(|socket| socket.map(receive)),
        }
    }
}

impl ListeningSocket {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Accepted> {
        match self {
            Self::Tcp(listener) => listener
                .poll_accept(cx)
                .map_ok(|(stream, peer)| (ClientSocket::Tcp(stream), PeerAddress::Inet(peer))),
            Self::Unix(listener) => listener
                .poll_accept(cx)
                .map_ok(|(stream, _)| (ClientSocket::Unix(stream), PeerAddress::Unix)),
        }
    }
}

fn receive(socket: OwnedFd) -> Accepted {
    let socket = ClientSocket::from_fd(socket)?;
    let peer = socket.peer_address()?;
    Ok((socket, peer))
}

impl futures_core::Stream for Listener {
    type Item = io::Result<Connection>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = ready!(self.get_mut().poll_accept(cx));
        Poll::Ready(accepted.map(|result| result.map(|(connection, _)| connection)))
    }
}

#[cfg(feature = "axum")]
impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = PeerAddress;

    /// Never resolves once the listener has ended; use `with_graceful_shutdown` with
    /// [`Worker::leaving`](crate::Worker::leaving).
    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match std::future::poll_fn(|cx| self.poll_accept(cx)).await {
                Some(Ok(accepted)) => return accepted,
                Some(Err(error)) => pause_after(&error).await,
                None => std::future::pending::<()>().await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(match self.address {
            LocalAddress::Inet(address) => PeerAddress::Inet(address),
            _ => PeerAddress::Unix,
        })
    }
}

/// A client that is gone again is no reason to wait; a lack of descriptors or memory is.
#[cfg(feature = "axum")]
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, NotConnected};
    if !matches!(error.kind(), ConnectionAborted | ConnectionReset | NotConnected) {
        tracing::warn!(%error, "failed to accept a connection");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
