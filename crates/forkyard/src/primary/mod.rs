//! The primary's thread: it carries out what the core decides.
//!
//! ```text
//!  spawner thread ──┐
//!  channel readers ─┤ Mail      ┌────────┐ Input  ┌──────┐
//!  exit watchers ───┼──────────▶│ Driver │───────▶│ Core │
//!  handles ─────────┘           │        │◀───────│      │
//!  listeners, timers ──────────▶└────────┘ Action └──────┘
//!                                 │ writes to channels, binds, accepts, signals
//! ```
//!
//! [`driver`] owns the state and is the only writer. Everything that takes time is a task
//! or a thread that reports by [`Mail`].

mod acceptor;
pub(crate) mod address;
mod announcer;
mod binding;
mod census;
mod channel;
mod check;
mod driver;
mod exit_watch;
mod lanes;
mod listeners;
mod lookout;
mod notify;
mod outgoing;
pub(crate) mod rest;
mod rolls;
mod ruling;
mod seats;
mod signals;
mod spawner;
mod starting;
mod starvation;
pub(crate) mod upgrade;

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use forkyard_core::{
    Admission, Denied, ExitStatus, Generation, ListenerId, Policy, ReadySignal, Request, Scaled,
    SlotId, WorkerId,
};
use forkyard_ipc::{Dialect, HandleKind, Value, WorkerMessage};
use forkyard_sys::inherited::InheritedFds;
use forkyard_sys::process::{Process, Signal};
use forkyard_sys::sockets::{PrivatePair, SocketKind};
use tokio::sync::oneshot;

pub(crate) use channel::MessageTap;
pub use check::{CheckSettings, CheckSettingsError};
pub(crate) use driver::{UpgradeAnswer, UpgradeRefusal};
pub(crate) use rolls::Wanted;
pub(crate) use seats::LiveIndex;
pub(crate) use spawner::NotifyDirs;
pub(crate) use starting::{Beginning, PrimaryHandle, prepare};
use upgrade::UpgradeFailure;

use crate::activation::ActivatedSockets;
use crate::event::{ListenerInfo, WorkerInfo, WorkerStatus};
use crate::listen::{BindError, ListenAddress};
use crate::roll::RollTicket;

/// How connections of some listener reach the workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// The port or the path of the listeners it is for; `None` for all others.
    pub listener: Option<String>,
    /// The policy.
    pub policy: Policy,
}

/// How a worker is asked to leave.
#[derive(Clone, Debug)]
pub(crate) struct DrainSettings {
    /// How long its idle connections are served and told to close.
    pub(crate) grace: Duration,
    /// What its program is told besides.
    pub(crate) messages: Vec<String>,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self { grace: Duration::from_secs(2), messages: Vec::new() }
    }
}

/// What the primary does about signals to its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalRule {
    LeaveAlone,
    Stop,
}

/// Which cores workers run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pinning {
    /// Those that the primary may use.
    Free,
    /// One of them each, by the number of the worker's slot.
    CoreEach,
}

/// All that a primary is told at its start.
#[derive(Debug)]
pub(crate) struct PrimarySettings {
    pub(crate) core: forkyard_core::Settings,
    pub(crate) policies: Vec<PolicyRule>,
    pub(crate) dialect: Dialect,
    pub(crate) stop_signal: Signal,
    pub(crate) drain: DrainSettings,
    pub(crate) check: Option<CheckSettings>,
    pub(crate) message_limit: usize,
    pub(crate) signals: SignalRule,
    pub(crate) inherited: Arc<InheritedFds>,
    /// Those of them that are served in place of what has the same address.
    pub(crate) activated: ActivatedSockets,
    pub(crate) notify: NotifyDirs,
    pub(crate) nofile_soft: Option<u64>,
    pub(crate) pinning: Pinning,
    /// Where the program of this process is looked for at an upgrade.
    pub(crate) binary: PathBuf,
    /// How long a new program may take to get ready.
    pub(crate) upgrade_timeout: Duration,
}

/// What reaches the driver from tasks, threads and handles.
#[derive(Debug)]
pub(crate) enum Mail {
    Spawned(spawner::Spawned),
    SpawnFailed {
        worker: WorkerId,
        message: String,
    },
    Message {
        worker: WorkerId,
        message: WorkerMessage,
    },
    /// A message with a descriptor arrived and must be acknowledged, or its descriptor
    /// did not.
    HandleArrived {
        worker: WorkerId,
        intact: bool,
    },
    ChannelTrouble {
        worker: WorkerId,
        message: String,
    },
    ChannelEnded {
        worker: WorkerId,
    },
    /// The worker has said so on its notification socket.
    Ready {
        worker: WorkerId,
        by: ReadySignal,
    },
    CheckPair(CheckPair),
    Checked {
        worker: WorkerId,
        result: Result<(), String>,
    },
    Exited {
        worker: WorkerId,
        status: ExitStatus,
        stderr_tail: Vec<String>,
    },
    /// The kernel was asked which connections are held.
    Counted(census::Counted),
    /// A worker has come to rest for an upgrade.
    Unattended {
        worker: WorkerId,
        unattended: exit_watch::Unattended,
    },
    /// The program that is on disk now has been tried out. Its version, or what is wrong.
    Rehearsed(Result<String, UpgradeFailure>),
    /// Whoever watches the events has handled so many.
    EventsHandled(u64),
    Command(Command),
}

/// A connection of the primary to itself, with which a worker is to be checked.
#[derive(Debug)]
pub(crate) struct CheckPair {
    worker: WorkerId,
    listener: ListenerId,
    pair: io::Result<PrivatePair>,
}

/// What a handle asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Request(Request, oneshot::Sender<Admission>),
    Scale(NonZeroUsize, oneshot::Sender<Result<Scaled, Denied>>),
    Fork(NonZeroUsize, oneshot::Sender<Result<Vec<SlotId>, Denied>>),
    Roll(Wanted, oneshot::Sender<Result<RollTicket, Denied>>),
    Signal(SlotId, Signal, oneshot::Sender<io::Result<()>>),
    Send(SlotId, Value, Option<Handle>, oneshot::Sender<io::Result<()>>),
    Workers(oneshot::Sender<Vec<WorkerStatus>>),
    HasBeenReady(oneshot::Sender<bool>),
    Generation(oneshot::Sender<Generation>),
    Listen(ListenAddress, oneshot::Sender<Result<ListenerInfo, BindError>>),
    Listeners(oneshot::Sender<Vec<ListenerInfo>>),
    Upgrade(UpgradeAnswer),
    Note(Option<String>, oneshot::Sender<()>),
}

/// A message that a worker sent with `process.send` or [`Worker::send`](crate::Worker::send).
#[derive(Debug)]
pub struct ReceivedMessage {
    /// Who sent it.
    pub info: WorkerInfo,
    /// What.
    pub message: Value,
    /// The descriptor that came with it.
    pub handle: Option<Handle>,
}

/// A descriptor that travels with a message.
#[derive(Debug)]
pub struct Handle {
    /// What it is, in Node's terms.
    pub kind: HandleKind,
    /// The descriptor.
    pub fd: OwnedFd,
}

impl Handle {
    /// Makes sure that a worker can take it.
    pub(crate) fn check(&self) -> io::Result<()> {
        let found = forkyard_sys::sockets::socket_kind(self.fd.as_fd())?;
        let datagram =
            matches!(self.kind, HandleKind::DgramNative | HandleKind::DgramSocket { .. });
        let fits = match found {
            Some(SocketKind::Udp) => datagram,
            Some(SocketKind::Tcp | SocketKind::UnixStream) => !datagram,
            _ => false,
        };
        if !fits {
            let why = format!("the descriptor is no {}", self.kind.as_str());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        forkyard_sys::sockets::set_nonblocking(&self.fd)
    }
}

/// A started process, shared between the driver, which signals it, and the task that
/// watches for its end. Reaped when both have let go.
pub(crate) type SharedProcess = Arc<Process>;
