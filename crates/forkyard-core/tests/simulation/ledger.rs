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
    CheckRule, ConnectionId, Dealing, DealtLane, Generation, IdleRule, LaneId, ListenerId,
    ListenerSpec, Outcome, Policy, ReadyRule, ReadySignal, Role, SlotId, Stage, WorkerId,
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
mod lanes;
mod readiness;
mod resting;
mod rolling;
mod seeing;

use rolling::Roll;

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
    dealing: Option<Dealing>,
    /// Whose each lane is, and whether the primary accepts there too.
    lanes: BTreeMap<LaneId, Lane>,
    /// To which the kernel deals.
    dealt: Vec<DealtLane>,
    is_closed: bool,
    /// Accepted and neither served nor let go.
    unserved: usize,
    /// What `unserved` may not exceed.
    bound: usize,
}

/// One lane, as the account has it.
struct Lane {
    worker: WorkerId,
    is_primarys: bool,
}

/// How a worker stands to its slot's seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Seated,
    Successor,
    Former,
}

struct Worker {
    slot: SlotId,
    generation: Generation,
    place: Place,
    said_ready: BTreeSet<&'static str>,
    /// It has been told that it is ready.
    is_told_ready: bool,
    /// When it was all that a successor has to be before it settles.
    fit_since: Option<Instant>,
    is_healthy: bool,
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
    /// It was found not to take what waits on its lanes, and is tried again then.
    blocked_until: Option<Instant>,
    /// What it was started with, and has not asked for.
    inherited: BTreeSet<ListenerId>,
    /// All that it has ever asked for.
    wishes: Vec<ListenerSpec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seat {
    /// Nobody has ever sat here.
    New,
    Empty,
    Taken(WorkerId),
    Done,
}

struct Slot {
    seat: Seat,
    role: Role,
    is_retiring: bool,
    /// The roll under way has brought it.
    is_added: bool,
    /// Going back did not work here: it keeps what it has.
    is_stuck: bool,
    has_been_ready: bool,
    /// How often it was to get a worker again after a crash.
    restarts: u32,
}

/// Who wants a listener to stay open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Keeper {
    /// The app itself.
    App,
    Worker(WorkerId),
    /// The next worker of a slot is expected to.
    Slot(SlotId),
}

/// What the ledger has to know of the settings.
#[derive(Clone, Copy)]
pub struct Rules {
    pub window: usize,
    pub waiting: usize,
    pub trial_after: Duration,
    pub limit: u32,
    pub linger: Duration,
    pub leave_linger: Duration,
    pub reset_after: Duration,
    pub when_idle: IdleRule,
    pub ready: ReadyRule,
    pub check: CheckRule,
    pub settle: Duration,
}

pub struct Ledger {
    rules: Rules,
    now: Instant,
    connections: BTreeMap<ConnectionId, Connection>,
    listeners: BTreeMap<ListenerId, Listener>,
    workers: BTreeMap<WorkerId, Worker>,
    slots: BTreeMap<SlotId, Slot>,
    keepers: BTreeSet<(ListenerId, Keeper)>,
    /// What is served when no roll is under way.
    generation: Generation,
    roll: Option<Roll>,
    /// Who was spawned a moment ago; the next action tells for what.
    just_spawned: Option<WorkerId>,
    /// Whose worker ended a moment ago.
    just_emptied: Option<SlotId>,
    /// Who was the last to close a listener, and when.
    closings: BTreeMap<ListenerId, (WorkerId, Instant)>,
    /// What is asked for in this step: by a worker that was just heard, or by a spare that is
    /// now listened to.
    asked: Vec<ListenerSpec>,
    /// The address that the app has from its settings.
    own_address: Option<ListenerSpec>,
    /// The app has been told to be ready.
    is_ready: bool,
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
pub const SIGHTS: [&str; 36] = [
    "a connection taken from a lane",
    "a lane that was renewed",
    "a blocked worker left out",
    "a blocked worker dealt to again",
    "a lane that the primary took back",
    "a connection that waits for the one worker",
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
    "a worker ready",
    "an app ready",
    "a failed start",
    "a start that took too long",
    "a worker asked to leave",
    "a worker terminated",
    "a worker killed",
    "a worker replaced",
    "a roll finished",
    "a roll failed",
    "a roll rolled back",
    "a roll rolled back before all was as it had been",
    "a seat that could not be given back",
    "a roll aborted",
    "a spare promoted",
    "a spare that did not ask",
    "an end by stop",
    "an end by itself",
    "an end by failure",
    "a primary handed over",
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
            generation: Generation(0),
            roll: None,
            just_spawned: None,
            just_emptied: None,
            closings: BTreeMap::new(),
            asked: Vec::new(),
            own_address: None,
            is_ready: false,
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
        let is_wanted = entry.place == Place::Seated
            && self.slots.get(&slot).is_some_and(|slot| !slot.is_retiring);
        self.lets_go(worker, is_wanted.then_some(slot));
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
                self.keepers.insert((id, Keeper::Slot(slot)));
                self.sight("a listener kept for the successor of one who closed it");
            }
        }
    }

    /// What a worker kept open is its slot's, or nobody's.
    fn lets_go(&mut self, worker: WorkerId, heir: Option<SlotId>) {
        let own = Keeper::Worker(worker);
        let kept: Vec<_> =
            self.keepers.iter().filter(|(_, keeper)| *keeper == own).copied().collect();
        for (id, _) in kept {
            self.keepers.remove(&(id, own));
            self.keepers.extend(heir.map(|slot| (id, Keeper::Slot(slot))));
        }
    }

    fn nobody_expects(&mut self, slot: SlotId) {
        self.keepers.retain(|(_, keeper)| *keeper != Keeper::Slot(slot));
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
    fn new(slot: SlotId, generation: Generation) -> Self {
        Self {
            slot,
            generation,
            place: Place::Seated,
            said_ready: BTreeSet::new(),
            is_told_ready: false,
            fit_since: None,
            is_healthy: false,
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
            blocked_until: None,
            inherited: BTreeSet::new(),
            wishes: Vec::new(),
        }
    }

    fn is_up(&self) -> bool {
        self.runs_since.is_some() && !self.is_gone && !self.is_leaving
    }

    /// As far as a spare may come.
    fn has_come_to_listen(&self) -> bool {
        self.questions > 0 || self.is_listening
    }

    /// Whether it does what a successor has to do.
    fn is_ready(&self, rules: &Rules, role: Role) -> bool {
        let has_said = |signal| self.said_ready.contains(name_of(signal));
        match (role, rules.ready) {
            (Role::Spare, _) => self.has_come_to_listen(),
            (Role::Serving, ReadyRule::Started) => self.runs_since.is_some(),
            (Role::Serving, ReadyRule::Listening) => {
                self.is_listening || has_said(ReadySignal::Notify)
            }
            (Role::Serving, ReadyRule::Message) => has_said(ReadySignal::Message),
            (Role::Serving, ReadyRule::Notify) => has_said(ReadySignal::Notify),
        }
    }

    /// One that listens settles after the stable time; one that does not has longer, but
    /// not for ever.
    fn settles_by(&self, now: Instant, rules: &Rules) -> bool {
        let times = if self.is_listening { 1 } else { 5 };
        let stable_after = rules.reset_after * times;
        let is_stable = self.runs_since.is_some_and(|since| now >= since + stable_after);
        let is_due = is_stable && !self.is_settled && self.place == Place::Seated;
        self.is_up() && is_due && !self.is_cut_off()
    }
}

fn name_of(signal: ReadySignal) -> &'static str {
    match signal {
        ReadySignal::Message => "message",
        ReadySignal::Notify => "notify",
    }
}
