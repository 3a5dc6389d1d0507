//! The worker side: a Rust program that runs under a cluster's primary, Forkyard's or
//! Node's own.
//!
//! [`Worker`] talks to a task that owns the channel. A [`Listener`] is granted by the
//! primary; depending on the policy it accepts by itself or is handed connections, and
//! looks the same either way.

mod connection;
mod departure;
mod link;
mod listener;
mod question;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use forkyard_core::WorkerId;
use forkyard_ipc::{Dialect, Value};
use tokio::net::{ToSocketAddrs, UdpSocket};
use tokio::sync::{mpsc, oneshot, watch};

pub use connection::{ClientSocket, Connection, PeerAddress};
use link::{Command, Link, LinkEnds};
pub use listener::Listener;
use question::Question;

/// Names the worker; its presence makes a process one. See Node's `lib/cluster.js`.
pub(crate) const ID_VARIABLE: &str = "NODE_UNIQUE_ID";
/// The channel's descriptor. See Node's `lib/internal/process/pre_execution.js`.
pub(crate) const CHANNEL_VARIABLE: &str = "NODE_CHANNEL_FD";
/// How messages are written on it.
pub(crate) const DIALECT_VARIABLE: &str = "NODE_CHANNEL_SERIALIZATION_MODE";

/// How many requests to the channel's task, and how many messages from the primary, may
/// wait.
const QUEUE: usize = 64;

/// Why this process is not a worker.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A variable is missing or senseless.
    #[error("failed to read {variable}: this process was not started by a cluster's primary")]
    Variable {
        /// Its name.
        variable: &'static str,
    },
    /// The channel cannot be used.
    #[error("failed to take the channel that {CHANNEL_VARIABLE} names")]
    Channel(#[source] io::Error),
    /// There is no tokio runtime.
    #[error("failed to start: a worker needs a tokio runtime with I/O and time enabled")]
    Runtime,
}

/// Why a worker does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address does not exist.
    #[error("failed to look up the address")]
    Lookup(#[source] io::Error),
    /// The primary could not bind it.
    #[error("failed to listen on {address}")]
    Refused {
        /// The address.
        address: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The primary is gone, or the worker is leaving.
    #[error("failed to listen: the worker is not connected to its primary")]
    Disconnected,
}

/// This process as a worker.
///
/// Dropping it lets go of the channel once every [`Listener`] is dropped too; the primary
/// then ends this process after a while. One that was asked to leave, or has called
/// [`disconnect`](Self::disconnect), keeps the channel until the process ends.
#[derive(Debug)]
pub struct Worker {
    id: WorkerId,
    commands: mpsc::Sender<Command>,
    leaving: watch::Receiver<bool>,
    messages: mpsc::Receiver<Value>,
}

impl Worker {
    /// Takes the channel that the primary announced in the environment. Can be done once.
    ///
    /// The variables stay in the environment; a Node process started by a worker should be
    /// started without them (see [`Worker::VARIABLES`]).
    ///
    /// # Errors
    ///
    /// If this process was not started as a worker, or outside a tokio runtime.
    pub fn from_env() -> Result<Self, WorkerError> {
        let id = parse_variable(ID_VARIABLE)?;
        let number = parse_variable(CHANNEL_VARIABLE)?;
        let dialect: Dialect = match std::env::var(DIALECT_VARIABLE) {
            Ok(name) => {
                name.parse().map_err(|_| WorkerError::Variable { variable: DIALECT_VARIABLE })?
            }
            Err(_) => Dialect::Json,
        };
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| WorkerError::Runtime)?;
        let channel =
            forkyard_sys::inherited::take_channel(number).map_err(WorkerError::Channel)?;
        let _inside = runtime.enter();
        Self::on(channel, WorkerId(id), dialect).map_err(WorkerError::Channel)
    }

    /// A worker on this channel, inside a tokio runtime.
    fn on(channel: OwnedFd, id: WorkerId, dialect: Dialect) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel(QUEUE);
        let (left, leaving) = watch::channel(false);
        let (inwards, messages) = mpsc::channel(QUEUE);
        let link = Link::new(channel, dialect, LinkEnds { inbox, left, messages: inwards })?;
        tokio::spawn(link.run());
        Ok(Self { id, commands, leaving, messages })
    }

    /// The environment variables that make a process a worker, to be taken out of the
    /// environment of its children.
    pub const VARIABLES: [&str; 3] = [ID_VARIABLE, CHANNEL_VARIABLE, DIALECT_VARIABLE];

    /// The worker's number, which Node calls `cluster.worker.id`.
    #[must_use]
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// Listens on a TCP address together with the other workers. Port 0 is the same free
    /// port in all of them.
    ///
    /// # Errors
    ///
    /// If the address does not exist or the primary could not bind it.
    pub async fn listen(&self, address: impl ToSocketAddrs) -> Result<Listener, ListenError> {
        let mut found = tokio::net::lookup_host(address).await.map_err(ListenError::Lookup)?;
        let nothing = || io::Error::new(io::ErrorKind::NotFound, "it has no addresses");
        let address = found.next().ok_or_else(|| ListenError::Lookup(nothing()))?;
        self.ask(Question::tcp(address)).await?.into_listener()
    }

    /// Listens on a Unix socket together with the other workers. The primary removes its
    /// file at the end.
    ///
    /// # Errors
    ///
    /// If the primary could not bind it.
    pub async fn listen_unix(&self, path: impl AsRef<Path>) -> Result<Listener, ListenError> {
        let path = std::path::absolute(path).map_err(ListenError::Lookup)?;
        self.ask(Question::unix(&path)).await?.into_listener()
    }

    /// Binds a UDP address together with the other workers; each datagram goes to one of
    /// them.
    ///
    /// The address stays this worker's until the process ends, also when the socket is
    /// dropped: binding it a second time is refused as in use.
    ///
    /// # Errors
    ///
    /// If the address does not exist or the primary could not bind it.
    pub async fn bind_udp(&self, address: impl ToSocketAddrs) -> Result<UdpSocket, ListenError> {
        let mut found = tokio::net::lookup_host(address).await.map_err(ListenError::Lookup)?;
        let nothing = || io::Error::new(io::ErrorKind::NotFound, "it has no addresses");
        let address = found.next().ok_or_else(|| ListenError::Lookup(nothing()))?;
        self.ask(Question::udp(address)).await?.into_udp()
    }

    /// Sends a message to the primary, which gets it as `worker.on('message')` or by
    /// [`Cluster::messages`](crate::Cluster::messages).
    ///
    /// # Errors
    ///
    /// If the primary is gone, or the message cannot be written in the serialization in
    /// force.
    pub async fn send(&self, message: Value) -> io::Result<()> {
        let (answer, answered) = oneshot::channel();
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        let command = Command::Send(message, answer);
        self.commands.send(command).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// The next message from the primary; `None` once it is gone. Messages that nobody
    /// fetches are dropped when 64 wait. A descriptor that comes with a message is closed;
    /// the message is delivered without it.
    pub async fn next_message(&mut self) -> Option<Value> {
        self.messages.recv().await
    }

    /// Resolves when the worker shall leave: the primary asked for it or is gone, or this
    /// side has called [`disconnect`](Self::disconnect). Meant for `with_graceful_shutdown`.
    ///
    /// No connection is lost to it: by then every [`Listener`] has given all it had been
    /// handed and has ended, or is dropped, and every connection was read from or has had
    /// half a second to say something. So go on accepting while you wait for it.
    pub fn leaving(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut leaving = self.leaving.clone();
        async move {
            // An error means that the channel's task is gone, which is the same.
            let _ = leaving.wait_for(|left| *left).await;
        }
    }

    /// Leaves of the worker's own accord: ends its listeners, tells the primary, and
    /// resolves when the primary knows.
    ///
    /// Connections under way are not touched; finish them and let the process end.
    /// Forkyard's primary gives it the disconnect time-out for that, Node's all the time it
    /// wants.
    pub async fn disconnect(self) {
        let (answer, answered) = oneshot::channel();
        if self.commands.send(Command::Leave(answer)).await.is_ok() {
            // The channel's end says the same as the answer.
            let _ = answered.await;
        }
    }

    async fn ask(&self, question: Question) -> Result<link::Granted, ListenError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Listen(question, answer);
        self.commands.send(command).await.map_err(|_| ListenError::Disconnected)?;
        answered.await.map_err(|_| ListenError::Disconnected)?
    }
}

fn parse_variable<T: std::str::FromStr>(variable: &'static str) -> Result<T, WorkerError> {
    let text = std::env::var(variable).map_err(|_| WorkerError::Variable { variable })?;
    text.parse().map_err(|_| WorkerError::Variable { variable })
}
