//! Writes to one worker's channel, without ever waiting.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use forkyard_core::{ConnectionId, MAX_LISTENERS};
use forkyard_ipc::{Dialect, Frame, Outbox, OutboxState, PrimaryMessage, Transport};
use forkyard_sys::reactor::Watched;
use tokio::io::Interest;

use super::channel::SharedChannel;
use super::listeners::Connections;

/// How much may wait for a worker that does not read.
const LIMIT: usize = 64 * 1024 * 1024;
/// How many descriptors may be on their way. A worker that opens all the listeners it may
/// is sent that many at once.
const MAX_UNACKNOWLEDGED: usize = MAX_LISTENERS;

/// A descriptor on its way to a worker, kept until the worker says that it has it.
#[derive(Debug)]
pub(super) enum Sent {
    /// An accepted connection, which the driver keeps among its [`Connections`].
    Connection(ConnectionId),
    /// A connection of the primary's own making, for this worker and no other.
    Check(ConnectionId, OwnedFd),
    /// A listening socket.
    Listener(OwnedFd),
    /// Something that a library user sends.
    User(OwnedFd),
}

impl Sent {
    /// `None` if it is not there any more, because the worker has answered a connection that
    /// it was not sent.
    pub(super) fn descriptor<'a>(&'a self, connections: &'a Connections) -> Option<BorrowedFd<'a>> {
        match self {
            Self::Connection(id) => connections.get(*id),
            Self::Check(_, fd) | Self::Listener(fd) | Self::User(fd) => Some(fd.as_fd()),
        }
    }
}

/// Why something could not be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("failed to encode a message: {0}")]
    Encode(#[from] forkyard_ipc::EncodeError),
    #[error("the worker has left {} MiB unread", LIMIT >> 20)]
    Full,
    #[error("the worker does not say that it has got {MAX_UNACKNOWLEDGED} descriptors")]
    Unacknowledged,
}

impl From<SendError> for io::Error {
    fn from(error: SendError) -> Self {
        Self::other(error)
    }
}

/// Whether everything could be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    All,
    /// The rest waits until the worker has read something.
    Blocked,
    /// The worker cannot be written to any more. Its channel was ended, and its reader will
    /// find that.
    Broken,
}

/// One worker's channel, write side.
#[derive(Debug)]
pub(super) struct Outgoing {
    channel: SharedChannel,
    dialect: Dialect,
    outbox: Outbox<Sent>,
    /// Tells when a channel that was full can take more. Only there while it is needed:
    /// otherwise every read by the worker would wake the primary.
    room: Option<Watched>,
}

impl Outgoing {
    pub(super) fn new(channel: SharedChannel, dialect: Dialect) -> Self {
        Self { channel, dialect, outbox: Outbox::new(LIMIT), room: None }
    }

    /// One that goes on where another one was.
    pub(super) fn resume(
        channel: SharedChannel,
        dialect: Dialect,
        state: OutboxState<Sent>,
    ) -> Self {
        Self { channel, dialect, outbox: Outbox::resume(LIMIT, state), room: None }
    }

    /// What is still to be sent, with each descriptor as `tell` puts it.
    pub(super) fn state<'a, T>(&'a self, tell: impl FnMut(&'a Sent) -> T) -> OutboxState<T> {
        self.outbox.state(tell)
    }

    /// The channel that it writes to.
    pub(super) fn channel(&self) -> &SharedChannel {
        &self.channel
    }

    pub(super) fn push(
        &mut self,
        message: &PrimaryMessage,
        handle: Option<Sent>,
    ) -> Result<(), SendError> {
        let mut bytes = self.outbox.buffer();
        message.encode(self.dialect, &mut bytes)?;
        self.push_frame(Frame { bytes, handle })
    }

    fn push_frame(&mut self, frame: Frame<Sent>) -> Result<(), SendError> {
        if frame.handle.is_some() && self.outbox.unacknowledged() >= MAX_UNACKNOWLEDGED {
            return Err(SendError::Unacknowledged);
        }
        self.outbox.push(frame).map_err(|_| SendError::Full)
    }

    /// `push` for the one message that is sent for every connection.
    pub(super) fn push_connection(
        &mut self,
        (connection, sent): (ConnectionId, Sent),
        (key, transport): (&str, Transport),
    ) -> Result<(), SendError> {
        let mut bytes = self.outbox.buffer();
        PrimaryMessage::encode_new_connection(
            self.dialect,
            connection.0,
            key,
            transport,
            &mut bytes,
        )?;
        self.push_frame(Frame { bytes, handle: Some(sent) })
    }

    /// The worker has, or has not, received the oldest descriptor on its way.
    pub(super) fn acknowledge(&mut self) -> Option<Sent> {
        self.outbox.acknowledge()
    }

    /// Ends the channel and lets go of all that was to be sent. Whoever reads the channel
    /// finds its end behind what has arrived.
    pub(super) fn end(&mut self) {
        drop(self.outbox.drain());
        self.room = None;
        if let Err(error) = forkyard_sys::channel::end(self.channel.get_ref().as_fd()) {
            tracing::debug!(%error, "failed to end a channel");
        }
    }

    /// Writes as much as can be written at once.
    pub(super) fn flush(&mut self, connections: &Connections) -> Flushed {
        while let Some(chunk) = self.outbox.next() {
            let channel = self.channel.get_ref().as_fd();
            let handle = match chunk.handle.map(|sent| sent.descriptor(connections)) {
                Some(None) => {
                    self.outbox.skip();
                    continue;
                }
                handle => handle.flatten(),
            };
            match forkyard_sys::channel::send(channel, chunk.bytes, handle) {
                Ok(written) => self.outbox.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flushed::Blocked,
                Err(error) => {
                    tracing::debug!(%error, "failed to write to a channel");
                    self.end();
                    return Flushed::Broken;
                }
            }
        }
        Flushed::All
    }

    /// Goes on writing once the worker has read something.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        connections: &Connections,
    ) -> Poll<Flushed> {
        let flushed = loop {
            // If it cannot be watched, for want of descriptors, it is tried again with the
            // next news.
            let Ok(room) = self.room.take().map_or_else(|| self.watch(), Ok) else {
                return Poll::Pending;
            };
            let ready = match room.poll_write_ready(cx) {
                Poll::Ready(ready) => ready,
                Poll::Pending => {
                    self.room = Some(room);
                    return Poll::Pending;
                }
            };
            let Ok(mut ready) = ready else { break Flushed::Broken };
            match self.flush(connections) {
                Flushed::Blocked => ready.clear_ready(),
                done => break done,
            }
            self.room = Some(room);
        };
        Poll::Ready(flushed)
    }

    fn watch(&self) -> io::Result<Watched> {
        Watched::new(self.channel.get_ref().try_clone()?, Interest::WRITABLE)
    }
}
