//! Run one server program as many worker processes behind one port.
//!
//! A process uses this crate in one of two roles, and [`is_primary`] says in which:
//!
//! - The **primary** starts a [`Cluster`], which binds addresses, forks workers, deals out
//!   connections and replaces workers that crash. The workers may be this very program,
//!   a stock Node.js program, or anything else.
//! - A **worker** takes its [`Worker`] from the environment and asks it for listeners. The
//!   primary may be this crate's or Node's own.
//!
//! ```no_run
//! # async fn serve(listener: forkyard::Listener) {}
//! # async fn main_() -> Result<(), Box<dyn std::error::Error>> {
//! if forkyard::is_primary() {
//!     let mut cluster = forkyard::Cluster::builder().start()?;
//!     for _ in 0..forkyard::available_workers().get() {
//!         cluster.fork().await?;
//!     }
//!     while let Some(event) = cluster.next_event().await {
//!         if let forkyard::Event::Exited { info, status, .. } = event {
//!             eprintln!("worker {} ended with {status}", info.worker);
//!         }
//!     }
//! } else {
//!     let worker = forkyard::Worker::from_env()?;
//!     serve(worker.listen("127.0.0.1:8000").await?).await;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Theory of operation
//!
//! A cluster's primary is a thread of its own with a single-threaded tokio runtime, so
//! that a busy program cannot hold up its connections. The thread owns all state; every
//! source (channels, exits, listeners, timers, requests) is folded into one kind of input
//! for [`forkyard_core::Core`], whose actions are all carried out without waiting. A second
//! thread does nothing but start processes, because that blocks; it lives as long as the
//! primary, since the system kills a worker together with the thread that started it.
//! A third one reads the workers' output if it is captured.
//!
//! If the program lends its first thread ([`host`]), that one starts the processes, and the
//! primary can be upgraded ([`ClusterHandle::upgrade`]): the process executes the program that
//! is on disk by then, and keeps its workers, their channels and all sockets.
#![forbid(unsafe_code)]
// Output goes through one place, so that it can be prefixed and formatted.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod activation;
pub mod agent;
mod cluster;
mod engine;
mod event;
mod host;
mod listen;
mod output;
mod primary;
mod program;
mod roll;
mod worker;

/// What a [`Value`] is made of.
pub mod value {
    pub use forkyard_ipc::{
        ArrayBuffer, BigInt, Bytes, ErrorKind, ErrorValue, RegExp, SparseArray, View, ViewKind,
    };
}

use std::num::NonZeroUsize;

pub use activation::{ActivatedSocket, ActivatedSockets};
pub use cluster::{
    Cluster, ClusterBuilder, ClusterHandle, Messages, Origin, RequestError, StartError,
};
pub use event::{
    Event, ExitStatus, FailReason, LeaveReason, ListenerInfo, Outcome, Policy, SlotId, Stage,
    WorkerInfo, WorkerState, WorkerStatus,
};
pub use forkyard_core::{
    Denied, Generation, IdleRule, MAX_SLOTS, ReadyRule, RestartMode, RestartSettings, Scaled,
    Surge, WorkerId,
};
pub use forkyard_ipc::{Dialect, HandleKind, Value};
pub use forkyard_sys::cgroup::{Cgroup, CgroupError, CgroupLimits};
pub use forkyard_sys::inherited::InheritedFds;
pub use forkyard_sys::process::{Account, AccountError, NewPrivileges, OpenFiles, Signal};
pub use forkyard_sys::sockets::LocalAddress;
pub use host::{host, is_rehearsal, is_upgrade};
pub use listen::{BindError, ListenAddress, NotASocketError, ParseListenAddressError};
pub use output::{Output, OutputLine, OutputSink, StreamKind};
pub use primary::upgrade::UpgradeFailure;
pub use primary::{CheckSettings, CheckSettingsError, Handle, PolicyRule, ReceivedMessage};
pub use program::Program;
pub use roll::{
    RollError, RollExtent, RollFailure, RollPlan, RollReason, RollStep, RollTicket, WhenBusy,
};
pub use worker::{
    ClientSocket, Connection, ListenError, Listener, PeerAddress, Worker, WorkerError,
};

/// Whether this process is a primary: it was not started as a worker of a cluster, neither
/// by Forkyard nor by Node.
#[must_use]
pub fn is_primary() -> bool {
    std::env::var_os(worker::ID_VARIABLE).is_none()
}

/// The opposite of [`is_primary`].
#[must_use]
pub fn is_worker() -> bool {
    !is_primary()
}

/// How many workers this machine has room for: its cores, less what CPU affinity and a
/// control group's CPU quota take away, and at least one. What `--workers max` means.
#[must_use]
pub fn available_workers() -> NonZeroUsize {
    // std looks at sched_getaffinity(2) and at the quotas of cgroup v1 and v2.
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
