//! What a cluster tells those who watch it.

use std::time::{Duration, SystemTime};

use crate::roll::{RollExtent, RollFailure, RollReason, RollStep};
pub use forkyard_core::{
    ExitStatus, FailReason, LeaveReason, Outcome, Policy, SlotId, Stage, WorkerState,
};
use forkyard_core::{Generation, WorkerId};

/// One worker: its seat, its number, its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerInfo {
    /// Its seat, counted from 0.
    pub slot: SlotId,
    /// Its number, which Node calls `cluster.worker.id`.
    pub worker: WorkerId,
    /// Its process id; 0 when it has none yet.
    pub pid: u32,
}

/// How a worker stands at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Which worker.
    pub info: WorkerInfo,
    /// How it stands.
    pub state: WorkerState,
    /// When its process was started, by the clock on the wall; `None` while it has none yet.
    pub started: Option<SystemTime>,
    /// How often its slot has had to get a new worker because of a crash, since the app's start
    /// or since the slot was added.
    pub restarts: u32,
}

/// An address that is bound, and how its connections reach the workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerInfo {
    /// Where: `127.0.0.1:8000`, `unix:/run/app.sock`, `udp:0.0.0.0:53`.
    pub address: String,
    /// The policy in force, which is never `auto`.
    pub policy: Policy,
    /// Why it is that one, if it is not simply what was asked for.
    pub reason: Option<String>,
}

/// Something that happened. More kinds may come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A worker's process runs.
    Started(WorkerInfo),
    /// A worker's process could not be started.
    StartFailed {
        /// Whose.
        info: WorkerInfo,
        /// The reason, as the system gave it.
        message: String,
    },
    /// A worker speaks the cluster protocol.
    Online(WorkerInfo),
    /// An address is bound.
    Bound(ListenerInfo),
    /// A worker listens.
    Listening {
        /// Who.
        info: WorkerInfo,
        /// Where.
        address: String,
    },
    /// A worker asked for an address and did not get it; its program was told.
    ListenRefused {
        /// Who.
        info: WorkerInfo,
        /// Where.
        address: String,
        /// The error's symbol, such as `EADDRINUSE`.
        code: String,
        /// What it means and what can be done.
        message: String,
    },
    /// A worker is ready by the rule of [`ClusterBuilder::ready`](crate::ClusterBuilder::ready):
    /// one that serves, at the app's start as well as after a crash, or a successor, before it
    /// is checked and settles. Told once of each worker. A spare has [`StandsBy`](Self::StandsBy)
    /// instead, and this when it serves.
    Ready(WorkerInfo),
    /// The app is ready: every slot, but for those of spares, has had a worker that is. Told
    /// once, however many workers crash later or are added; slots that are done or go away are
    /// not waited for.
    AppReady,
    /// A worker was not listening within the start time-out and is being ended.
    StartTimedOut {
        /// Who.
        info: WorkerInfo,
        /// The time-out.
        after: Duration,
    },
    /// A worker's channel ended: it gets no new connections.
    Disconnected(WorkerInfo),
    /// A worker's process ended, and all that it wrote has been passed on. If it goes to a
    /// sink that is slow, its last lines may come later.
    Exited {
        /// Who.
        info: WorkerInfo,
        /// How.
        status: ExitStatus,
        /// Why it was leaving; `None` means that nobody had asked: a crash.
        leaving: Option<LeaveReason>,
        /// Its last lines on stderr, if its output is captured.
        stderr_tail: Vec<String>,
    },
    /// A roll began.
    RollStarted {
        /// The generation that is brought in.
        generation: Generation,
        /// What for.
        reason: RollReason,
        /// How much is to be done.
        extent: RollExtent,
    },
    /// A successor has come further on its way to its seat.
    RollStep {
        /// The successor.
        info: WorkerInfo,
        /// How far.
        step: RollStep,
    },
    /// Every seat has been taken anew; predecessors may still be finishing what they have.
    RollFinished {
        /// The generation that serves now.
        generation: Generation,
        /// How long it took.
        took: Duration,
    },
    /// A successor was no good. The roll goes no further, and what it had replaced is
    /// replaced back.
    RollFailed {
        /// The generation that was to be brought in.
        generation: Generation,
        /// The worker that failed.
        info: WorkerInfo,
        /// Why.
        reason: RollFailure,
        /// Its last lines on stderr, if its output is captured.
        stderr_tail: Vec<String>,
    },
    /// A seat could not be given back to the generation from before, and keeps the worker
    /// that it has.
    RollBackFailed {
        /// The worker that failed.
        info: WorkerInfo,
        /// Why.
        reason: RollFailure,
        /// Its last lines on stderr, if its output is captured.
        stderr_tail: Vec<String>,
    },
    /// A roll that had failed is undone.
    RolledBack {
        /// The generation that serves on.
        generation: Generation,
        /// How long it took, there and back.
        took: Duration,
        /// Seats whose worker has ended meanwhile, and that have no other one yet that is ready.
        /// They are seen to as after any crash; all others have a worker of this generation, or
        /// the one that [`RollBackFailed`](Self::RollBackFailed) has told of.
        pending: Vec<SlotId>,
    },
    /// A roll ended because the app is stopping.
    RollAborted {
        /// The generation that was to be brought in.
        generation: Generation,
    },
    /// A spare is booted up to its `listen()` call, and waits.
    StandsBy(WorkerInfo),
    /// A spare has been up for long (the restart settings' `reset_after`) and has not asked for
    /// an address. A program that binds by itself cannot be held back: such a spare serves like
    /// all others. Told once.
    SpareDoesNotAsk {
        /// The spare.
        info: WorkerInfo,
        /// For how long it has been up.
        after: Duration,
    },
    /// A spare took the part of a worker that had ended.
    Promoted(WorkerInfo),
    /// An empty seat will be taken again.
    RestartScheduled {
        /// The seat.
        slot: SlotId,
        /// From now until the start.
        delay: Duration,
        /// Restarts of this slot within the window, this one included; 0 for one that
        /// does not count.
        restarts: u32,
    },
    /// A slot is done: its worker's exit code said so, or restarts are off.
    SlotDone {
        /// The slot.
        slot: SlotId,
    },
    /// The app is given up; everything is being stopped.
    Failed {
        /// Why.
        reason: FailReason,
        /// The last lines on stderr of the worker whose end was one too many.
        stderr_tail: Vec<String>,
    },
    /// A stop began or became more severe.
    Stopping {
        /// The step with which it begins.
        stage: Stage,
        /// How many workers are to be ended.
        workers: usize,
    },
    /// A worker did not leave in time, and the next step was taken.
    Escalated {
        /// Who.
        info: WorkerInfo,
        /// The step that was taken.
        stage: Stage,
    },
    /// The system could not accept connections; they wait, and it is tried again.
    AcceptFailed {
        /// On which address.
        address: String,
        /// Why.
        message: String,
    },
    /// A worker wrote something on its channel that cannot be used. It was ignored unless
    /// the message says otherwise.
    ChannelTrouble {
        /// Who.
        info: WorkerInfo,
        /// What, and what follows.
        message: String,
    },
    /// This primary is about to be replaced by another image of its program. Whoever reads
    /// this brings to an end what must not be cut off: the next call of
    /// [`Cluster::next_event`](crate::Cluster::next_event) says that this is done, and may be
    /// the last that this image does. Nothing is accepted meanwhile; after two seconds the
    /// upgrade is given up.
    Upgrading,
    /// An upgrade came to nothing, and all goes on as it was.
    UpgradeFailed {
        /// Why.
        reason: String,
        /// The last lines that the new program wrote to stderr.
        stderr_tail: Vec<String>,
    },
    /// This image has taken over from the one before. The first event there is.
    Upgraded {
        /// The primary's process, which is the same.
        pid: u32,
        /// The library's version now.
        version: String,
        /// For how long nothing was accepted.
        pause: Duration,
    },
    /// All is over; no event follows.
    Over(Outcome),
}
