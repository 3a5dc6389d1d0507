//! The listeners and who serves them, for another process to go on with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::listener::{Binding, Closer, Hold, Listener, ListenerSpec, Member, Policy};
use super::{Dispatcher, Offer, Standing, Timer, Worker};
use crate::id::{ConnectionId, ListenerId, SlotId, WorkerId};
use crate::input::Query;
use crate::snapshot::Moment;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DispatcherSnapshot {
    listeners: BTreeMap<ListenerId, ListenerSnapshot>,
    workers: BTreeMap<WorkerId, WorkerSnapshot>,
    timers_ns: Vec<(Timer, Moment)>,
    next_listener: u32,
    turn: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ListenerSnapshot {
    spec: ListenerSpec,
    policy: Policy,
    binding: Binding,
    holds: BTreeSet<Hold>,
    members: BTreeMap<WorkerId, Member>,
    queue: Vec<ConnectionId>,
    closer: Option<CloserSnapshot>,
    paused: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct CloserSnapshot {
    worker: WorkerId,
    at_ns: Moment,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct WorkerSnapshot {
    slot: SlotId,
    standing: Standing,
    asked: Vec<Query>,
    in_hand: Vec<OfferSnapshot>,
    last_turn: u64,
    leaving: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct OfferSnapshot {
    connection: ConnectionId,
    listener: ListenerId,
    since_ns: Moment,
}

impl Dispatcher {
    pub(crate) fn snapshot(&self, now: Instant) -> DispatcherSnapshot {
        let (listeners, workers) = (self.listeners.iter(), self.workers.iter());
        DispatcherSnapshot {
            listeners: listeners
                .map(|(id, entry)| (*id, ListenerSnapshot::of(entry, now)))
                .collect(),
            workers: workers.map(|(id, entry)| (*id, WorkerSnapshot::of(entry, now))).collect(),
            timers_ns: self.timers.all().map(|(key, at)| (key, Moment::of(at, now))).collect(),
            next_listener: self.next_listener,
            turn: self.turn,
        }
    }

    /// Becomes what another one was.
    pub(crate) fn resume(&mut self, snapshot: DispatcherSnapshot, now: Instant) {
        let DispatcherSnapshot { listeners, workers, timers_ns, next_listener, turn } = snapshot;
        self.by_spec = listeners.iter().map(|(id, entry)| (entry.spec.clone(), *id)).collect();
        self.listeners = listeners.into_iter().map(|(id, entry)| (id, entry.resume(now))).collect();
        self.workers = workers.into_iter().map(|(id, entry)| (id, entry.resume(now))).collect();
        for (key, at) in timers_ns {
            self.timers.set(key, at.at(now));
        }
        self.next_listener = next_listener;
        self.turn = turn;
    }
}

impl ListenerSnapshot {
    fn of(entry: &Listener, now: Instant) -> Self {
        let closer = entry.closer.map(|closer| CloserSnapshot {
            worker: closer.worker,
            at_ns: Moment::of(closer.at, now),
        });
        Self {
            spec: entry.spec.clone(),
            policy: entry.policy,
            binding: entry.binding.clone(),
            holds: entry.holds.clone(),
            members: entry.members.clone(),
            queue: entry.queue.iter().copied().collect(),
            closer,
            paused: entry.paused,
        }
    }

    fn resume(self, now: Instant) -> Listener {
        let closer =
            self.closer.map(|closer| Closer { worker: closer.worker, at: closer.at_ns.at(now) });
        Listener {
            binding: self.binding,
            holds: self.holds,
            members: self.members,
            queue: self.queue.into(),
            closer,
            paused: self.paused,
            spec: self.spec,
            policy: self.policy,
        }
    }
}

impl WorkerSnapshot {
    fn of(worker: &Worker, now: Instant) -> Self {
        let in_hand = worker.in_hand.iter().map(|offer| OfferSnapshot {
            connection: offer.connection,
            listener: offer.listener,
            since_ns: Moment::of(offer.since, now),
        });
        Self {
            slot: worker.slot,
            standing: worker.standing,
            asked: worker.asked.clone(),
            in_hand: in_hand.collect(),
            last_turn: worker.last_turn,
            leaving: worker.leaving,
        }
    }

    fn resume(self, now: Instant) -> Worker {
        let in_hand = self.in_hand.into_iter().map(|offer| Offer {
            connection: offer.connection,
            listener: offer.listener,
            since: offer.since_ns.at(now),
        });
        Worker {
            slot: self.slot,
            standing: self.standing,
            asked: self.asked,
            in_hand: in_hand.collect(),
            last_turn: self.last_turn,
            leaving: self.leaving,
        }
    }
}
