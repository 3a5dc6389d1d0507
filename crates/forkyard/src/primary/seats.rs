//! The workers that exist, as the driver sees them: process, channel, place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::task::Context;
use std::time::SystemTime;

use forkyard_core::{ConnectionId, SlotId, WorkerId};

use super::SharedProcess;
use super::exit_watch::SharedExit;
use super::listeners::Connections;
use super::notify::NotifyWatch;
use super::outgoing::{Flushed, Outgoing};
use crate::event::WorkerInfo;
use crate::output::Tail;

/// By which a worker is told from all others that live, in whatever slot: no two have the same
/// one, and a worker that starts gets the lowest that is free. Counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LiveIndex(pub(crate) u32);

impl fmt::Display for LiveIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One worker.
#[derive(Debug)]
pub(super) struct Seat {
    slot: SlotId,
    /// `None` once its process has ended.
    index: Option<LiveIndex>,
    /// What only a started worker has.
    pub(super) running: Option<Running>,
}

/// A started worker.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) process: SharedProcess,
    /// For people.
    pub(super) started: SystemTime,
    /// Tells of its end.
    pub(super) exit: SharedExit,
    pub(super) outgoing: Outgoing,
    /// Whether its channel has told of an agent, which can drain it.
    pub(super) agent: Agent,
    /// Its last lines on stderr, if they are captured.
    pub(super) tail: Option<Tail>,
    /// Listens for its word that it is ready.
    pub(super) notify: Option<NotifyWatch>,
    /// What it was sent for a sign of life, and has not answered.
    pub(super) probe: Option<ConnectionId>,
}

impl Running {
    /// Whether nobody listens for its word at the moment.
    pub(super) fn is_silent(&self) -> bool {
        self.notify.as_ref().is_none_or(NotifyWatch::is_at_rest)
    }
}

/// Whether Forkyard's agent is in a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agent {
    Absent,
    Present,
}

/// All workers.
#[derive(Debug, Default)]
pub(super) struct Seats {
    seats: BTreeMap<WorkerId, Seat>,
    /// Workers whose channel was full when last written to.
    blocked: Vec<WorkerId>,
    /// Workers for whom something waits that was not written yet.
    unwritten: Vec<WorkerId>,
}

impl Seats {
    /// Returns the index of the new worker.
    pub(super) fn add(&mut self, worker: WorkerId, slot: SlotId) -> LiveIndex {
        let taken: BTreeSet<_> = self.seats.values().filter_map(|seat| seat.index).collect();
        let lowest = (0..).map(LiveIndex).find(|index| !taken.contains(index));
        let index = lowest.expect("invariant: there are fewer workers than numbers");
        self.resume(worker, slot, index);
        index
    }

    /// A worker that another image has started.
    pub(super) fn resume(&mut self, worker: WorkerId, slot: SlotId, index: LiveIndex) {
        self.seats.insert(worker, Seat { slot, index: Some(index), running: None });
    }

    /// Its process has ended, so that another worker may have its index.
    pub(super) fn ended(&mut self, worker: WorkerId) {
        if let Some(seat) = self.seats.get_mut(&worker) {
            seat.index = None;
        }
    }

    pub(super) fn started(&mut self, worker: WorkerId, running: Running) {
        if let Some(seat) = self.seats.get_mut(&worker) {
            seat.running = Some(running);
        }
    }

    pub(super) fn remove(&mut self, worker: WorkerId) {
        self.seats.remove(&worker);
        self.blocked.retain(|blocked| *blocked != worker);
        self.unwritten.retain(|unwritten| *unwritten != worker);
    }

    pub(super) fn running(&mut self, worker: WorkerId) -> Option<&mut Running> {
        self.seats.get_mut(&worker)?.running.as_mut()
    }

    pub(super) fn info(&self, worker: WorkerId) -> Option<WorkerInfo> {
        let seat = self.seats.get(&worker)?;
        let pid = seat.running.as_ref().map_or(0, |running| running.process.pid());
        Some(WorkerInfo { slot: seat.slot, worker, pid })
    }

    /// All of them, with the time of their start.
    pub(super) fn all(&self) -> impl Iterator<Item = (WorkerInfo, Option<SystemTime>)> {
        self.seats.iter().filter_map(|(worker, seat)| {
            let started = seat.running.as_ref().map(|running| running.started);
            Some((self.info(*worker)?, started))
        })
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

    /// The index of a worker that lives.
    pub(super) fn index(&self, worker: WorkerId) -> Option<LiveIndex> {
        self.seats.get(&worker)?.index
    }

    /// Listens to all that nobody listens to at the moment.
    pub(super) fn listen_again(&mut self) {
        let running = self.seats.values_mut().filter_map(|seat| seat.running.as_mut());
        running.filter_map(|running| running.notify.as_mut()).for_each(NotifyWatch::go_on);
    }

    /// From now on the files by which workers notify end with their workers.
    pub(super) fn own_notify_files(&mut self) {
        let running = self.seats.values_mut().filter_map(|seat| seat.running.as_mut());
        running.filter_map(|running| running.notify.as_mut()).for_each(NotifyWatch::own_file);
    }

    /// The last lines on stderr of a worker, so far.
    pub(super) fn tail(&self, worker: WorkerId) -> Vec<String> {
        let running = self.seats.get(&worker).and_then(|seat| seat.running.as_ref());
        running.and_then(|running| running.tail.as_ref()).map(Tail::lines).unwrap_or_default()
    }

    /// Has what waits for this worker written with the next [`flush_all`](Self::flush_all).
    pub(super) fn flush_later(&mut self, worker: WorkerId) {
        if !self.unwritten.contains(&worker) {
            self.unwritten.push(worker);
        }
    }

    /// Writes what was put off.
    pub(super) fn flush_all(&mut self, connections: &Connections) {
        while let Some(worker) = self.unwritten.pop() {
            self.flush(worker, connections);
        }
    }

    /// Writes what waits for this worker, and remembers if something is left.
    pub(super) fn flush(&mut self, worker: WorkerId, connections: &Connections) {
        let Some(running) = self.running(worker) else { return };
        let blocked = running.outgoing.flush(connections) == Flushed::Blocked;
        if blocked && !self.blocked.contains(&worker) {
            self.blocked.push(worker);
        }
    }

    /// Goes on with the channels that were full, and has the driver called again when one
    /// of them can take more.
    pub(super) fn poll_blocked(&mut self, cx: &mut Context<'_>, connections: &Connections) {
        let mut blocked = std::mem::take(&mut self.blocked);
        blocked.retain(|worker| {
            self.running(*worker)
                .is_some_and(|running| running.outgoing.poll_flush(cx, connections).is_pending())
        });
        self.blocked = blocked;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_gets_the_lowest_index_that_no_other_living_one_has() {
        let mut seats = Seats::default();
        let mut add = |worker, slot| seats.add(WorkerId(worker), SlotId(slot)).0;
        assert_eq!((add(1, 0), add(2, 1), add(3, 0)), (0, 1, 2));
        seats.ended(WorkerId(1));
        assert_eq!(seats.index(WorkerId(1)), None);
        assert_eq!(seats.add(WorkerId(4), SlotId(1)), LiveIndex(0));
        seats.remove(WorkerId(2));
        seats.resume(WorkerId(5), SlotId(2), LiveIndex(3));
        assert_eq!(seats.add(WorkerId(6), SlotId(3)), LiveIndex(1));
        assert_eq!(seats.add(WorkerId(7), SlotId(4)), LiveIndex(4));
    }
}
