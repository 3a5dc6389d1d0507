//! Replacing all workers, or one of them, without anybody noticing.

use std::num::NonZeroUsize;

use forkyard_core::{Denied, Surge};
pub use forkyard_core::{RollExtent, RollFailure, RollReason, RollStep};
use tokio::sync::oneshot;

use crate::event::WorkerInfo;
use crate::program::Program;

/// What a roll brings in, and how fast. By default the same program again, as many workers
/// as now, one at a time.
#[derive(Clone, Debug)]
pub struct RollPlan {
    pub(crate) program: Option<Program>,
    pub(crate) workers: Option<NonZeroUsize>,
    pub(crate) surge: Surge,
    pub(crate) when_busy: WhenBusy,
}

impl Default for RollPlan {
    fn default() -> Self {
        Self { program: None, workers: None, surge: Surge::Workers(1), when_busy: WhenBusy::Wait }
    }
}

impl RollPlan {
    /// What the new workers run. By default what the present ones do.
    #[must_use]
    pub fn program(mut self, program: Program) -> Self {
        self.program = Some(program);
        self
    }

    /// How many workers serve afterwards. By default as many as before.
    #[must_use]
    pub fn workers(mut self, workers: NonZeroUsize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// How many successors there may be at a time that have no seat yet. One by default.
    #[must_use]
    pub fn surge(mut self, surge: Surge) -> Self {
        self.surge = surge;
        self
    }

    /// What to do if a roll is under way already. By default wait for its end.
    #[must_use]
    pub fn when_busy(mut self, rule: WhenBusy) -> Self {
        self.when_busy = rule;
        self
    }
}

/// What becomes of a roll that is asked for while another one is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBusy {
    /// It begins when the other one is over. A few can wait.
    Wait,
    /// It is refused.
    Refuse,
}

/// Why a roll did not come to its end. The generation from before serves on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RollError {
    /// A successor was no good, and what had been replaced was replaced back.
    #[error("the roll failed at worker {} in slot {}", .info.worker, .info.slot)]
    Failed {
        /// The worker that failed.
        info: WorkerInfo,
        /// Why.
        reason: RollFailure,
        /// Its last lines on stderr, if its output is captured.
        stderr_tail: Vec<String>,
    },
    /// It had to wait for another one, and cannot be done any more.
    #[error("{0}")]
    Denied(Denied),
    /// The app is stopping, or is already over.
    #[error("the app is stopping")]
    Stopped,
}

/// A roll that has been accepted. Dropping this changes nothing about it.
#[derive(Debug)]
pub struct RollTicket {
    pub(crate) end: oneshot::Receiver<Result<(), RollError>>,
}

impl RollTicket {
    /// Waits for the roll's end, the way back included.
    ///
    /// # Errors
    ///
    /// If it failed, could not be begun when its turn came, or the app was stopped before it
    /// ended.
    pub async fn finished(self) -> Result<(), RollError> {
        self.end.await.unwrap_or(Err(RollError::Stopped))
    }
}
