//! The workers that exist, as the driver sees them: process, channel, place.

use std::collections::BTreeMap;
use std::task::Context;

use forkyard_core::{SlotId, WorkerId};

use super::SharedProcess;
use super::outgoing::{Flushed, Outgoing};
use crate::event::WorkerInfo;

/// One worker.
#[derive(Debug)]
pub(super) struct Seat {
    slot: SlotId,
    /// What only a started worker has.
    pub(super) running: Option<Running>,
}

/// A started worker.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) process: SharedProcess,
    pub(super) outgoing: Outgoing,
}

/// All workers.
#[derive(Debug, Default)]
pub(super) struct Seats {
    seats: BTreeMap<WorkerId, Seat>,
    /// Workers whose channel was full when last written to.
    blocked: Vec<WorkerId>,
}

impl Seats {
    pub(super) fn add(&mut self, worker: WorkerId, slot: SlotId) {
        self.seats.insert(worker, Seat { slot, running: None });
    }

    pub(super) fn started(&mut self, worker: WorkerId, running: Running) {
        if let Some(seat) = self.seats.get_mut(&worker) {
            seat.running = Some(running);
        }
    }

    pub(super) fn remove(&mut self, worker: WorkerId) {
        self.seats.remove(&worker);
        self.blocked.retain(|blocked| *blocked != worker);
    }

    pub(super) fn running(&mut self, worker: WorkerId) -> Option<&mut Running> {
        self.seats.get_mut(&worker)?.running.as_mut()
    }

    /// The worker in this slot.
    pub(super) fn in_slot(&self, slot: SlotId) -> Option<WorkerId> {
        self.seats.iter().find(|(_, seat)| seat.slot == slot).map(|(worker, _)| *worker)
    }

    pub(super) fn info(&self, worker: WorkerId) -> Option<WorkerInfo> {
        let seat = self.seats.get(&worker)?;
        let pid = seat.running.as_ref().map_or(0, |running| running.process.pid());
        Some(WorkerInfo { slot: seat.slot, worker, pid })
    }

    pub(super) fn all(&self) -> Vec<WorkerInfo> {
        self.seats.keys().filter_map(|worker| self.info(*worker)).collect()
    }

    /// Whether a worker has no process yet.
    pub(super) fn are_any_starting(&self) -> bool {
        self.seats.values().any(|seat| seat.running.is_none())
    }

    /// Those that have one.
    pub(super) fn started_workers(&self) -> impl Iterator<Item = WorkerId> {
        self.all_started().map(|(worker, ..)| worker)
    }

    /// Those that have one, with what belongs to it.
    pub(super) fn all_started(&self) -> impl Iterator<Item = (WorkerId, SlotId, &Running)> {
        self.seats
            .iter()
            .filter_map(|(worker, seat)| Some((*worker, seat.slot, seat.running.as_ref()?)))
    }

    /// Writes what waits for this worker, and remembers if something is left.
    pub(super) fn flush(&mut self, worker: WorkerId) {
        let Some(running) = self.running(worker) else { return };
        let blocked = running.outgoing.flush() == Flushed::Blocked;
        if blocked && !self.blocked.contains(&worker) {
            self.blocked.push(worker);
        }
    }

    /// Goes on with the channels that were full, and has the driver called again when one
    /// of them can take more.
    pub(super) fn poll_blocked(&mut self, cx: &mut Context<'_>) {
        let mut blocked = std::mem::take(&mut self.blocked);
        blocked.retain(|worker| {
            self.running(*worker)
                .is_some_and(|running| running.outgoing.poll_flush(cx).is_pending())
        });
        self.blocked = blocked;
    }
}
