//! A seat for a worker, and how it comes to be empty.

use serde::{Deserialize, Serialize};

use super::readiness::Readiness;
use super::settings::{ExitStatus, Role};
use crate::id::{Generation, WorkerId};
use crate::restart::History;

/// Who has a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SeatState {
    /// Nobody. It is taken when a delay is over, or by a successor.
    Waiting,
    /// This worker, which may be leaving.
    Taken(WorkerId),
    /// Nobody, and nobody will; the exit code of the last worker.
    Done(i32),
}

/// Whether a slot is to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tenure {
    Kept,
    /// It goes away together with its worker.
    Retiring,
}

/// A seat. Beside its worker it may have a successor, which is not seated yet.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) role: Role,
    pub(super) seat: SeatState,
    pub(super) successor: Option<WorkerId>,
    /// What the next worker is started from.
    pub(super) generation: Generation,
    pub(super) history: History,
    /// How often it has had to get a new worker because of a crash, ever.
    pub(super) restarts: u32,
    pub(super) tenure: Tenure,
    /// Whether it has had a ready worker.
    pub(super) readiness: Readiness,
}

impl Slot {
    pub(super) fn new(role: Role, generation: Generation) -> Self {
        Self {
            role,
            seat: SeatState::Waiting,
            successor: None,
            generation,
            history: History::default(),
            restarts: 0,
            tenure: Tenure::Kept,
            readiness: Readiness::Awaited,
        }
    }

    pub(super) fn worker(&self) -> Option<WorkerId> {
        match self.seat {
            SeatState::Taken(worker) => Some(worker),
            SeatState::Waiting | SeatState::Done(_) => None,
        }
    }

    pub(super) fn is_retiring(&self) -> bool {
        self.tenure == Tenure::Retiring
    }
}

/// How a process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Exited(ExitStatus),
    NeverRan,
}

impl End {
    /// As a shell would put it into one number.
    pub(super) fn code(self) -> i32 {
        const CANNOT_START: i32 = 127;
        const BY_SIGNAL: i32 = 128;
        match self {
            Self::Exited(ExitStatus::Code(code)) => code,
            Self::Exited(ExitStatus::Signal(signal)) => BY_SIGNAL + signal,
            Self::NeverRan => CANNOT_START,
        }
    }
}
