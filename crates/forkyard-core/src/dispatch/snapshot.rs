//! The listeners and who serves them, for another process to go on with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::lanes::{DealtLane, Lane, Watch};
use super::listener::{Binding, Closer, Hold, Listener, ListenerSpec, Member};
use super::policy::{Dealing, Policy};
use super::worker::{Attention, Offer, Standing, Waiting, Worker};
use super::{Dispatcher, Timer};
use crate::id::{ListenerId, SlotId, WorkerId};
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
    dealing: Option<Dealing>,
    binding: Binding,
    holds: BTreeSet<Hold>,
    members: BTreeMap<WorkerId, Member>,
    queue: Vec<Waiting>,
    lanes: Vec<LaneSnapshot>,
    dealt: Vec<DealtLane>,
    closer: Option<CloserSnapshot>,
    paused: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct LaneSnapshot {
    worker: Option<WorkerId>,
    taken: Option<u64>,
    still_since_ns: Option<Moment>,
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
    turn: u64,
    lag_ns: u64,
    open: u32,
    attention: Attention,
    leaving: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct OfferSnapshot {
    waiting: Waiting,
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
            dealing: entry.dealing,
            binding: entry.binding.clone(),
            holds: entry.holds.clone(),
            members: entry.members.clone(),
            queue: entry.queue.iter().copied().collect(),
            lanes: entry.lanes.iter().map(|lane| LaneSnapshot::of(lane, now)).collect(),
            dealt: entry.dealt.clone(),
            closer,
            paused: entry.paused,
        }
    }

    fn resume(self, now: Instant) -> Listener {
        let closer =
            self.closer.map(|closer| Closer { worker: closer.worker, at: closer.at_ns.at(now) });
        Listener {
            lanes: self.lanes.into_iter().map(|lane| lane.resume(now)).collect(),
            dealt: self.dealt,
            dealing: self.dealing,
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

impl LaneSnapshot {
    fn of(lane: &Lane, now: Instant) -> Self {
        let Watch { taken, still_since } = lane.watch;
        let still_since_ns = still_since.map(|since| Moment::of(since, now));
        Self { worker: lane.worker, taken, still_since_ns }
    }

    fn resume(self, now: Instant) -> Lane {
        let still_since = self.still_since_ns.map(|since| since.at(now));
        Lane { worker: self.worker, watch: Watch { taken: self.taken, still_since } }
    }
}

impl WorkerSnapshot {
    fn of(worker: &Worker, now: Instant) -> Self {
        let in_hand = worker.in_hand.iter().map(|offer| OfferSnapshot {
            waiting: offer.waiting,
            listener: offer.listener,
            since_ns: Moment::of(offer.since, now),
        });
        Self {
            slot: worker.slot,
            standing: worker.standing,
            asked: worker.asked.clone(),
            in_hand: in_hand.collect(),
            turn: worker.turn,
            lag_ns: u64::try_from(worker.lag.as_nanos()).unwrap_or(u64::MAX),
            open: worker.open,
            attention: worker.attention,
            leaving: worker.leaving,
        }
    }

    fn resume(self, now: Instant) -> Worker {
        let in_hand = self.in_hand.into_iter().map(|offer| Offer {
            waiting: offer.waiting,
            listener: offer.listener,
            since: offer.since_ns.at(now),
        });
        Worker {
            slot: self.slot,
            standing: self.standing,
            asked: self.asked,
            in_hand: in_hand.collect(),
            turn: self.turn,
            lag: Duration::from_nanos(self.lag_ns),
            open: self.open,
            attention: self.attention,
            leaving: self.leaving,
        }
    }
}
