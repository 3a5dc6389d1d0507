//! Accepts connections, and wakes up for them only when there is somebody to take them.
//!
//! Under load there is a connection waiting whenever a worker has room, so it is simply
//! fetched. The reactor is asked to watch the socket only once nothing was there, and no
//! longer than connections are wanted: otherwise every client that has to wait would wake
//! the primary for nothing, which is most of what a connection costs.
//!
//! ```text
//!               nothing there
//!   Unwatched ────────────────▶ Watched
//!       ▲   wanted: accept         │  readable, wanted: accept
//!       └──────────────────────────┘
//!            readable, not wanted
//! ```

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use forkyard_sys::reactor::Watched;
use forkyard_sys::sockets;
use tokio::io::Interest;

/// How a listener's connections are accepted.
#[derive(Debug)]
pub(super) enum Acceptor {
    /// By the workers.
    Workers,
    /// By the primary, which has not asked the reactor to watch.
    Unwatched,
    /// By the primary, which waits for the next one.
    Watched(Watched),
}

impl Acceptor {
    /// The next connection, which somebody wants.
    pub(super) fn poll(
        &mut self,
        socket: BorrowedFd<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<OwnedFd>> {
        if matches!(self, Self::Unwatched) {
            match accept(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                accepted => return Poll::Ready(accepted),
            }
            *self = Self::Watched(Watched::new(socket.try_clone_to_owned()?, Interest::READABLE)?);
        }
        let Self::Watched(watched) = self else { return Poll::Pending };
        loop {
            let mut ready = std::task::ready!(watched.poll_read_ready(cx))?;
            match accept(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                accepted => return Poll::Ready(accepted),
            }
        }
    }

    /// Nobody wants a connection now. If one has come all the same, stops watching.
    pub(super) fn rest(&mut self, cx: &mut Context<'_>) {
        if let Self::Watched(watched) = self
            && watched.poll_read_ready(cx).is_ready()
        {
            *self = Self::Unwatched;
        }
    }
}

/// Passes over connections that have failed before they were accepted, each of which
/// `accept(2)` reports once.
fn accept(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    loop {
        match sockets::accept(socket) {
            Err(error) if concerns_one_client(error.kind()) => {}
            accepted => return accepted,
        }
    }
}

fn concerns_one_client(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable,
    };
    matches!(
        kind,
        ConnectionAborted | ConnectionReset | HostUnreachable | NetworkDown | NetworkUnreachable
    )
}
