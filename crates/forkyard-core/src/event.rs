//! What the core tells the world. Views, logs and library users read these.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{Generation, SlotId, WorkerId};
use crate::input::Stage;
use crate::supervise::{ExitStatus, ReadyRule};

/// Something that a person or a program watching the app may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A worker's process runs.
    Started {
        /// Its seat.
        slot: SlotId,
        /// The worker.
        worker: WorkerId,
        /// Its process id.
        pid: u32,
    },
    /// A worker's process could not be started.
    StartFailed {
        /// The seat it was for.
        slot: SlotId,
        /// The worker that never was.
        worker: WorkerId,
        /// The reason, as the system gave it.
        message: String,
    },
    /// A worker speaks the cluster protocol.
    Online {
        /// Its seat.
        slot: SlotId,
        /// The worker.
        worker: WorkerId,
    },
    /// A worker that serves, or is to serve, fulfils the ready rule. Told once of each.
    Ready {
        /// Its seat.
        slot: SlotId,
        /// The worker.
        worker: WorkerId,
    },
    /// Every slot but those of spares has had a ready worker. Told once.
    AppReady,
    /// A worker was not listening within the start time-out and is being ended.
    StartTimedOut {
        /// Its seat.
        slot: SlotId,
        /// The worker.
        worker: WorkerId,
        /// The time-out.
        after: Duration,
    },
    /// A worker's channel ended: it serves no new connections.
    Disconnected {
        /// Its seat.
        slot: SlotId,
        /// The worker.
        worker: WorkerId,
    },
    /// A worker's process ended.
    Exited {
        /// Its seat.
        slot: SlotId,
        /// The worker.
        worker: WorkerId,
        /// How it ended.
        status: ExitStatus,
        /// Why it was leaving; `None` when nobody had asked: a crash.
        leaving: Option<LeaveReason>,
    },
    /// A roll began.
    RollStarted {
        /// The generation that is brought in.
        generation: Generation,
        /// Why.
        reason: RollReason,
        /// How much is to be done.
        extent: RollExtent,
    },
    /// A successor has come further.
    RollStep {
        /// The seat.
        slot: SlotId,
        /// The successor.
        worker: WorkerId,
        /// How far.
        step: RollStep,
    },
    /// Every seat has been taken anew.
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
        /// The seat.
        slot: SlotId,
        /// The worker that failed.
        worker: WorkerId,
        /// Why.
        reason: RollFailure,
    },
    /// A seat could not be given back to the generation before, and keeps the worker that
    /// it has.
    RollBackFailed {
        /// The seat.
        slot: SlotId,
        /// The worker that failed.
        worker: WorkerId,
        /// Why.
        reason: RollFailure,
    },
    /// A roll that had failed is undone.
    RolledBack {
        /// The generation that serves on.
        generation: Generation,
        /// How long it took, there and back.
        took: Duration,
        /// Seats that have no worker yet, or one that has been started meanwhile and is not ready.
        /// They are seen to as after any crash.
        pending: Vec<SlotId>,
    },
    /// A roll ended because the app is stopping.
    RollAborted {
        /// The generation that was to be brought in.
        generation: Generation,
    },
    /// A spare has come to its first question for an address, and waits.
    StandsBy {
        /// The spare's seat.
        slot: SlotId,
        /// The spare.
        worker: WorkerId,
    },
    /// A spare has been up for the stable time and has not asked for an address: if it listens
    /// without asking, it serves. Told once.
    SpareDoesNotAsk {
        /// The spare's seat.
        slot: SlotId,
        /// The spare.
        worker: WorkerId,
        /// For how long it has been up.
        after: Duration,
    },
    /// A spare took the place of a worker that had ended.
    Promoted {
        /// The spare's seat.
        slot: SlotId,
        /// The spare.
        worker: WorkerId,
    },
    /// An empty seat will be taken again.
    RestartScheduled {
        /// The seat.
        slot: SlotId,
        /// From now until the start.
        delay: Duration,
        /// Restarts of this slot within the window, this one included; 0 for one that is not
        /// counted because the worker left by itself.
        restarts: u32,
    },
    /// A slot is done: its worker's exit code said so, or restarts are off.
    SlotDone {
        /// The slot.
        slot: SlotId,
    },
    /// The app is given up; everything is being stopped.
    Failed(FailReason),
    /// A stop began or became more severe.
    Stopping {
        /// The step with which it begins.
        stage: Stage,
        /// How many workers are to be ended.
        workers: usize,
    },
    /// A worker did not leave in time, and the next step was taken.
    Escalated {
        /// Its seat.
        slot: SlotId,
        /// The worker.
        worker: WorkerId,
        /// The step that was taken.
        stage: Stage,
    },
}

/// What a roll is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RollReason {
    /// The next generation comes.
    Reload,
    /// One seat's worker is exchanged.
    Replace,
}

/// How much a roll is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollExtent {
    /// How many seats get another worker, those of spares included.
    pub replaced: usize,
    /// How many seats there are to be more.
    pub added: usize,
    /// How many seats go away in the end.
    pub removed: usize,
    /// How many successors there may be at a time.
    pub surge: usize,
}

/// How far a successor is on its way to its seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollStep {
    /// Its process is being started.
    Starting,
    /// It runs, and is to say that it is ready.
    Waiting(ReadyRule),
    /// It says that it is ready, and its health is looked at.
    Checking,
    /// It is to stay up for the settle time.
    Settling,
    /// It has the seat, and its predecessor leaves.
    Seated,
}

/// Why a successor was no good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RollFailure {
    /// Its process could not be started.
    NotStarted {
        /// The reason, as the system gave it.
        message: String,
    },
    /// Its process ended.
    Ended {
        /// How.
        status: ExitStatus,
    },
    /// It was not ready in time.
    NotReady {
        /// How long it had.
        after: Duration,
        /// What it was to do.
        rule: ReadyRule,
    },
    /// It was ready, but is not healthy.
    Unhealthy {
        /// What was found.
        message: String,
    },
    /// It left of its own accord, or broke the rules of the channel.
    Left,
}

/// Why an app was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailReason {
    /// One slot was restarted too often.
    RestartLimit {
        /// The slot.
        slot: SlotId,
        /// The worker whose end was one too many.
        worker: WorkerId,
        /// How many restarts were allowed.
        limit: u32,
        /// Within which time.
        window: Duration,
    },
}

/// Why a worker is leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    /// The whole app is stopping.
    Stop,
    /// The operator takes its seat away.
    Retired,
    /// Its successor has the seat.
    Replaced,
    /// It was the successor in a roll that failed.
    RolledBack,
    /// It said itself that it leaves.
    OwnWish,
    /// It was not listening in time.
    StartTimeout,
    /// It broke the rules of the channel, or closed it and lived on.
    Unusable,
}

/// How the primary's work ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The operator asked for it.
    Stopped,
    /// Every slot is done; the highest exit code among the last workers.
    Finished {
        /// The highest exit code.
        code: i32,
    },
    /// The app was given up.
    Failed(FailReason),
}
