//! Tells the core which of the connections that workers were handed are closed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use forkyard_core::{Choice, ConnectionId, Input, ListenerId, Origin, WorkerId};
use forkyard_sys::reuseport::address_hash;
use forkyard_sys::sockets::peer_ip;

use super::Driver;
use crate::primary::Mail;
use crate::primary::census::{Counted, Mark, count};

impl Driver {
    /// Where a connection comes from, if that decides who gets it. A Unix socket comes from
    /// nowhere, and a client that is gone already need not be told from others.
    pub(super) fn origin(&self, listener: ListenerId, connection: &OwnedFd) -> Option<Origin> {
        if self.listeners.choice(listener) != Some(Choice::ByOrigin) {
            return None;
        }
        peer_ip(connection.as_fd()).ok().flatten().map(|ip| Origin(address_hash(ip)))
    }

    /// How it is found again, if its end is of interest.
    pub(super) fn mark(&mut self, listener: ListenerId, connection: &OwnedFd) -> Option<Mark> {
        if self.listeners.choice(listener) != Some(Choice::LeastConnections) {
            return None;
        }
        let socket = self.listeners.socket(listener)?;
        self.census.mark((listener, socket), connection.as_fd())
    }

    /// A worker says that it has taken a connection. One whose end is of no interest, or cannot
    /// be seen, counts no longer.
    pub(super) fn taken(&mut self, worker: WorkerId, connection: ConnectionId) {
        match self.connections.mark(connection) {
            Some(Some(mark)) => {
                self.census.handed_over(Instant::now(), worker, mark);
                self.go_on_counting();
            }
            Some(None) => self.input(Input::Finished { worker, connections: 1 }),
            None => {}
        }
    }

    pub(super) fn counted(&mut self, counted: Counted) {
        for (worker, connections) in self.census.counted(counted) {
            self.input(Input::Finished { worker, connections });
        }
        self.go_on_counting();
    }

    /// Has the next count made, unless one is under way.
    pub(super) fn go_on_counting(&mut self) {
        let Some(order) = self.census.order() else { return };
        let mail = self.outlets.mail.clone();
        tokio::spawn(async move {
            tokio::time::sleep(order.pause).await;
            let counted = tokio::task::spawn_blocking(move || count(&order)).await;
            let counted = counted.unwrap_or_else(|error| Counted::failed(io::Error::other(error)));
            // A driver that is gone needs no mail.
            let _ = mail.send(Mail::Counted(counted)).await;
        });
    }
}
