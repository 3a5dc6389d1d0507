//! Looks at one worker's health: it alone is handed a connection of the primary's own making,
//! and answers a request on it.
//!
//! ```text
//!   Check ──▶ a pair is connected (may wait) ──▶ one end to the worker, a request on the other
//!                                                        │
//!   Checked ◀────────────────────────────────────────────┘ answered, or not
//! ```

use std::io;
use std::os::fd::OwnedFd;

use forkyard_core::{ConnectionId, Input, ListenerId, WorkerId};
use forkyard_sys::sockets::{PrivatePair, SocketKind, private_pair};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

use super::Driver;
use crate::primary::check::{CheckError, CheckSettings, Transport, check};
use crate::primary::outgoing::Sent;
use crate::primary::{CheckPair, Mail};

/// What is to be asked, and how.
struct Inquiry {
    worker: WorkerId,
    kind: SocketKind,
    transport: Transport,
    settings: CheckSettings,
}

impl Driver {
    /// Begins to look at a worker's health.
    pub(super) fn begin_check(&mut self, worker: WorkerId) {
        let Some(listener) = self.core.stream_listener_of(worker) else {
            let why = "it does not listen through the primary, so no connection can be handed to \
                       it; leave out the check";
            return self.checked(worker, Err(why.into()));
        };
        let Some(kind) = self.listeners.kind(listener) else {
            return self.checked(worker, Err("it closed what it listened on".into()));
        };
        let mail = self.outlets.mail.clone();
        tokio::spawn(async move {
            // On a thread of its own, because it may have to wait.
            let pair = tokio::task::spawn_blocking(move || private_pair(kind)).await;
            let pair = pair.unwrap_or_else(|error| Err(io::Error::other(error)));
            // A driver that is gone needs no mail.
            let _ = mail.send(Mail::CheckPair(CheckPair { worker, listener, pair })).await;
        });
    }

    /// Hands one end to the worker, and asks on the other.
    pub(super) fn go_on_with_check(&mut self, made: CheckPair) {
        let CheckPair { worker, listener, pair } = made;
        match pair {
            Ok(PrivatePair { client, server }) => self.ask(worker, listener, client, server),
            Err(error) => self.checked(worker, Err(format!("failed to connect to it: {error}"))),
        }
    }

    fn ask(&mut self, worker: WorkerId, listener: ListenerId, client: OwnedFd, server: OwnedFd) {
        let connection = ConnectionId(self.number());
        let kind = self.listeners.kind(listener);
        let named = self.listeners.key_and_transport(listener);
        let (Some(kind), Some(named), Some(settings)) = (kind, named, self.settings.check.clone())
        else {
            return self.checked(worker, Err("it closed what it listened on".into()));
        };
        let Some(running) = self.seats.running(worker) else { return };
        let sent = (connection, Sent::Check(connection, server));
        let pushed = running.outgoing.push_connection(sent, named);
        let transport = self.listeners.transport_above(listener);
        self.after_push(worker, pushed);
        let inquiry = Inquiry { worker, kind, transport, settings };
        tokio::spawn(inquire(inquiry, client, self.outlets.mail.clone()));
    }

    pub(super) fn checked(&mut self, worker: WorkerId, result: Result<(), String>) {
        self.input(Input::Checked { worker, result });
    }
}

async fn inquire(inquiry: Inquiry, client: OwnedFd, mail: mpsc::Sender<Mail>) {
    let worker = inquiry.worker;
    let result = match ask_over(inquiry, client).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("failed to {error}")),
        Err(error) => Err(format!("failed to use a connection to it: {error}")),
    };
    // A driver that is gone needs no mail.
    let _ = mail.send(Mail::Checked { worker, result }).await;
}

async fn ask_over(inquiry: Inquiry, client: OwnedFd) -> io::Result<Result<(), CheckError>> {
    let Inquiry { kind, transport, settings, .. } = inquiry;
    Ok(if kind == SocketKind::UnixStream {
        let stream = UnixStream::from_std(client.into())?;
        check(stream, &settings, transport).await
    } else {
        let stream = TcpStream::from_std(client.into())?;
        check(stream, &settings, transport).await
    })
}
