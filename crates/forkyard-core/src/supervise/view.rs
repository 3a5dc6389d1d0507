//! How each worker stands, for whoever asks.

use super::Supervisor;
use super::readiness::Readiness;
use super::settings::Role;
use super::worker::{Place, Progress, Worker};
use crate::id::WorkerId;

/// How a worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// It is being started, or runs and is not ready yet.
    Starting,
    /// It has a seat and is, or has been, ready.
    Ready,
    /// It is to get a seat in the roll under way.
    Successor,
    /// It stands by as a spare.
    Spare,
    /// It gets no new connections: it is on its way out, or its channel has ended.
    Leaving,
}

/// What is to be seen of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// How it stands.
    pub state: WorkerState,
    /// How often its slot has had to get a new worker because of a crash.
    pub restarts: u32,
}

impl Supervisor {
    pub(crate) fn view(&self, worker: WorkerId) -> Option<WorkerView> {
        let entry = self.workers.get(&worker)?;
        let restarts = self.slots.get(&entry.slot).map_or(0, |slot| slot.restarts);
        Some(WorkerView { state: entry.state(self.role_of(worker)), restarts })
    }
}

impl Worker {
    fn state(&self, role: Role) -> WorkerState {
        let stands_by = role == Role::Spare && self.progress >= Progress::StandingBy;
        if self.leaving.is_some() || self.is_cut_off() {
            return WorkerState::Leaving;
        }
        match self.place {
            Place::Successor(_) => WorkerState::Successor,
            // One that had the seat has been asked to leave.
            Place::Former => WorkerState::Leaving,
            Place::Seated if stands_by => WorkerState::Spare,
            Place::Seated if self.readiness == Readiness::Reached => WorkerState::Ready,
            Place::Seated => WorkerState::Starting,
        }
    }
}
