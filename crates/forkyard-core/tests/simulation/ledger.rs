//! What must hold after every step, written down without looking into the core.
//!
//! The ledger hears every input before the core does and every action after it. It keeps
//! its own account of who owns each connection, who sits in each slot and who holds each
//! listener, and complains as soon as the core's actions do not fit.
//!
//! ```text
//!              HandOff            Replied: accepted          Release
//!   Waiting ────────────▶ Offered ────────────────▶ Answered ───────▶ Served
//!      ▲                     │
//!      └─────────────────────┘ declined, or channel ended        Waiting ─▶ Dropped
//!                                                     only with a closed listener
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use forkyard_core::{
    ConnectionId, IdleRule, ListenerId, ListenerSpec, Outcome, Policy, SlotId, Stage, WorkerId,
};

/// What was broken, in a sentence.
pub type Violation = String;

macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            return Err(format!($($message)*));
        }
    };
}

mod hearing;
mod resting;
mod seeing;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Waiting,
    Offered(WorkerId),
    Answered,
    Served,
    Dropped,
}

struct Connection {
    listener: ListenerId,
    owner: Owner,
    /// The worker that has really taken it, whether or not its answer was read.
    taken_by: Option<WorkerId>,
}

#[derive(Default)]
struct Listener {
    specification: Option<(ListenerSpec, Policy)>,
    is_closed: bool,
    /// Accepted and neither served nor let go.
    unserved: usize,
    /// What `unserved` may not exceed.
    bound: usize,
}

struct Worker {
    slot: SlotId,
    runs_since: Option<Instant>,
    is_online: bool,
    is_listening: bool,
    channel_ended: bool,
    is_gone: bool,
    is_leaving: bool,
    is_settled: bool,
    severity: Option<Stage>,
    members_of: BTreeSet<ListenerId>,
    in_hand: usize,
    /// Addresses that it has asked for and got no answer about.
    questions: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seat {
    Empty,
    Taken(WorkerId),
    Done,
}

struct Slot {
    seat: Seat,
    is_retiring: bool,
}

/// What the ledger has to know of the settings.
#[derive(Clone, Copy)]
pub struct Rules {
    pub window: usize,
    pub limit: u32,
    pub linger: Duration,
    pub leave_linger: Duration,
    pub reset_after: Duration,
    pub when_idle: IdleRule,
}

pub struct Ledger {
    rules: Rules,
    now: Instant,
    connections: BTreeMap<ConnectionId, Connection>,
    listeners: BTreeMap<ListenerId, Listener>,
    workers: BTreeMap<WorkerId, Worker>,
    slots: BTreeMap<SlotId, Slot>,
    /// Slots that serve a listener, or whose next worker is expected to.
    keepers: BTreeSet<(ListenerId, SlotId)>,
    /// Who was the last to close a listener, and when.
    closings: BTreeMap<ListenerId, (WorkerId, Instant)>,
    /// What the worker that was just heard wants to listen on.
    asked: Option<ListenerSpec>,
    is_stopped: bool,
    has_failed: bool,
    finish: Option<Outcome>,
    last_worker: u32,
    /// What has to be checked when the step is over.
    touched: Vec<ConnectionId>,
    must_be_silent: bool,
    actions: usize,
    pub sights: Sights,
}

/// How often a run came by each thing that it is for.
pub type Sights = BTreeMap<&'static str, usize>;

/// What the runs together have to come by.
pub const SIGHTS: [&str; 18] = [
    "a connection served",
    "a connection dropped with its listener",
    "a connection declined",
    "a connection that the dead left unanswered",
    "an answer from the dead",
    "a channel that outlived its worker",
    "a forged reply",
    "a listener that nobody wanted",
    "a listener kept for the successor of one who closed it",
    "a crash",
    "a failed start",
    "a start that took too long",
    "a worker asked to leave",
    "a worker terminated",
    "a worker killed",
    "an end by stop",
    "an end by itself",
    "an end by failure",
];

impl Ledger {
    pub fn new(rules: Rules, now: Instant) -> Self {
        Self {
            rules,
            now,
            connections: BTreeMap::new(),
            listeners: BTreeMap::new(),
            workers: BTreeMap::new(),
            slots: BTreeMap::new(),
            keepers: BTreeSet::new(),
            closings: BTreeMap::new(),
            asked: None,
            is_stopped: false,
            has_failed: false,
            finish: None,
            last_worker: 0,
            touched: Vec::new(),
            must_be_silent: false,
            actions: 0,
            sights: Sights::new(),
        }
    }

    fn sight(&mut self, what: &'static str) {
        *self.sights.entry(what).or_default() += 1;
    }

    /// Until when a listener that was closed stays open. A worker that is there and has
    /// nothing left to listen on may be on its way out.
    fn lingers_until(&self, worker: WorkerId, closed: Instant) -> Instant {
        let is_idle = self.workers.get(&worker).is_some_and(|entry| {
            entry.is_up()
                && !entry.channel_ended
                && entry.members_of.is_empty()
                && entry.questions == 0
        });
        let leave_linger = if is_idle { self.rules.leave_linger } else { Duration::ZERO };
        closed + leave_linger.max(self.rules.linger)
    }

    /// A worker leaves: what it was the last to close is its successor's.
    fn departs(&mut self, worker: WorkerId) {
        let Some(entry) = self.workers.get(&worker) else { return };
        let slot = entry.slot;
        let is_first = !entry.is_leaving && !entry.is_gone && !entry.channel_ended;
        let is_wanted = self.slots.get(&slot).is_some_and(|slot| !slot.is_retiring);
        let closed: Vec<_> = self
            .closings
            .iter()
            .filter(|(_, (closer, _))| *closer == worker)
            .map(|(id, _)| *id)
            .collect();
        for id in closed {
            self.closings.remove(&id);
            let is_kept = self.keepers.iter().any(|(kept, _)| *kept == id);
            if is_first && is_wanted && !is_kept && !self.is_stopped {
                self.keepers.insert((id, slot));
                self.sight("a listener kept for the successor of one who closed it");
            }
        }
    }

    pub fn was_kept_open(&mut self) {
        self.sight("a channel that outlived its worker");
    }

    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Whether this worker is the one to answer for this connection.
    pub fn is_offered(&self, connection: ConnectionId, worker: WorkerId) -> bool {
        let owner = self.connections.get(&connection).map(|entry| entry.owner);
        owner == Some(Owner::Offered(worker))
    }

    pub fn slots(&self) -> Vec<SlotId> {
        self.slots.keys().copied().collect()
    }
}

impl Worker {
    fn new(slot: SlotId) -> Self {
        Self {
            slot,
            runs_since: None,
            is_online: false,
            is_listening: false,
            channel_ended: false,
            is_gone: false,
            is_leaving: false,
            is_settled: false,
            severity: None,
            members_of: BTreeSet::new(),
            in_hand: 0,
            questions: 0,
        }
    }

    fn is_up(&self) -> bool {
        self.runs_since.is_some() && !self.is_gone && !self.is_leaving
    }

    /// One that listens settles after the stable time; one that does not has longer, but
    /// not for ever.
    fn settles_by(&self, now: Instant, rules: &Rules) -> bool {
        let times = if self.is_listening { 1 } else { 5 };
        let stable_after = rules.reset_after * times;
        let is_stable = self.runs_since.is_some_and(|since| now >= since + stable_after);
        let is_cut_off = self.channel_ended && self.is_online;
        self.is_up() && is_stable && !is_cut_off && !self.is_settled
    }
}
