//! A listener shared with the other workers.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use forkyard_sys::sockets::LocalAddress;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot};

use super::connection::{Connection, PeerAddress};

/// Where connections come from; the policy decides.
#[derive(Debug)]
pub(super) enum Source {
    /// The primary hands them over.
    HandedOver(mpsc::Receiver<OwnedFd>),
    /// The worker accepts from a TCP socket that all workers share.
    Tcp(TcpListener),
    /// The same with a Unix socket.
    Unix(UnixListener),
}

/// Gives this worker's share of the connections to an address.
///
/// Besides [`accept`](Self::accept) it is a [`Stream`](futures_core::Stream) of connections,
/// and with the feature `axum` a listener for `axum::serve`. Dropping it tells the primary
/// that this worker serves the address no longer.
#[derive(Debug)]
pub struct Listener {
    source: Source,
    address: LocalAddress,
    /// Resolves when the worker has left the cluster.
    ended: oneshot::Receiver<Infallible>,
    /// Tells the channel's task when it is dropped.
    _in_use: oneshot::Sender<Infallible>,
}

impl Listener {
    pub(super) fn new(
        source: Source,
        address: LocalAddress,
        ended: oneshot::Receiver<Infallible>,
        in_use: oneshot::Sender<Infallible>,
    ) -> Self {
        Self { source, address, ended, _in_use: in_use }
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
    /// `NotConnected` when the worker has left the cluster: no connection will follow.
    /// Anything else concerns one connection only.
    pub async fn accept(&mut self) -> io::Result<(Connection, PeerAddress)> {
        let accepted = std::future::poll_fn(|cx| self.poll_accept(cx)).await;
        accepted.unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()))
    }

    /// As [`accept`](Self::accept); `None` when the worker has left the cluster.
    pub fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<(Connection, PeerAddress)>>> {
        let accepted = match &mut self.source {
            Source::HandedOver(inbox) => {
                let Some(socket) = ready!(inbox.poll_recv(cx)) else { return Poll::Ready(None) };
                return Poll::Ready(Some(receive(socket)));
            }
            Source::Tcp(listener) => listener
                .poll_accept(cx)
                .map_ok(|(stream, peer)| (Connection::Tcp(stream), PeerAddress::Inet(peer))),
            Source::Unix(listener) => listener
                .poll_accept(cx)
                .map_ok(|(stream, _)| (Connection::Unix(stream), PeerAddress::Unix)),
        };
        if Pin::new(&mut self.ended).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        accepted.map(Some)
    }
}

fn receive(socket: OwnedFd) -> io::Result<(Connection, PeerAddress)> {
    let connection = Connection::from_fd(socket)?;
    let peer = connection.peer_address()?;
    Ok((connection, peer))
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

    /// Never resolves once the worker has left; use `with_graceful_shutdown` with
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
