//! What the core tells the world. Views, logs and library users read these.

use std::time::Duration;

use crate::id::{SlotId, WorkerId};
use crate::input::Stage;
use crate::supervise::ExitStatus;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveReason {
    /// The whole app is stopping.
    Stop,
    /// The operator takes its seat away.
    Retired,
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
