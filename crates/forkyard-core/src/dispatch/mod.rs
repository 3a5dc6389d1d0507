//! Who listens where, and which worker gets the next connection.
//!
//! A connection's way, when the primary accepts:
//!
//! ```text
//!             capacity > 0                    Accepted
//!   backlog ───────────────▶ offered to W ───────────────▶ W's alone (Release)
//!                              │   ▲
//!     declined, lost, W dead   ▼   │ a worker has room
//!                             queue
//! ```
//!
//! A worker is offered at most [`DispatchSettings::window`] connections that it has not
//! answered, and none while it leaves one unanswered for longer than
//! [`DispatchSettings::patience`], so one that is blocked holds up hardly any. Nothing is accepted
//! unless a worker can be offered it at once: the rest waits in the kernel's backlog,
//! where it survives whatever happens here. The queue therefore only ever holds what
//! came back, which is bounded by workers × window.
//!
//! How long a listener stays open is in [`keeping`].

mod keeping;
mod listener;
pub(crate) mod snapshot;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::id::{ConnectionId, ListenerId, SlotId, WorkerId};
use crate::input::{Action, Query, Verdict};
use crate::timers::Timers;

use listener::{Binding, Listener, Member};
pub use listener::{Endpoint, Host, ListenerSpec, Policy, Refusal, Transport};

/// The most listeners one app may have.
pub const MAX_LISTENERS: usize = 1024;

/// How connections are dealt out.
#[derive(Clone, Debug)]
pub struct DispatchSettings {
    /// How many unanswered connections a worker may be offered. More than one keep a worker
    /// that is fully occupied from waiting for the primary, and the primary from waking up
    /// for each single one.
    pub window: usize,
    /// A worker that has left a connection unanswered for this long is offered no further
    /// one: its event loop is blocked.
    pub patience: Duration,
    /// How long a listener that everybody closed stays open, for a worker that closed
    /// it on the way out and whose successor opens it again. When that worker holds no
    /// other listener it is as long as the worker lives, and at most
    /// [`drain_timeout`](crate::SuperviseSettings::drain_timeout).
    pub linger: Duration,
    /// How long to wait when the system could not accept.
    pub accept_pause: Duration,
}

impl Default for DispatchSettings {
    fn default() -> Self {
        Self {
            window: 2,
            patience: Duration::from_millis(5),
            linger: Duration::from_secs(1),
            accept_pause: Duration::from_millis(100),
        }
    }
}

/// What happens to the listeners of a worker that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// A successor will want them.
    StaysWanted,
    /// The slot goes away.
    GoesAway,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Timer {
    Linger(ListenerId),
    AcceptPause(ListenerId),
    Declined(ListenerId, WorkerId),
}

/// Whether a worker takes part in serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// It gets connections.
    Serving,
    /// It gets its addresses, but no connections yet.
    HeldBack,
    /// Its questions for addresses wait for an answer.
    Spare,
}

#[derive(Debug)]
struct Worker {
    slot: SlotId,
    standing: Standing,
    /// What a spare would like to listen on.
    asked: Vec<Query>,
    /// Offered and not yet answered.
    /// The oldest first.
    in_hand: Vec<Offer>,
    /// When it last got a connection, in connections handed out by the primary.
    last_turn: u64,
    leaving: bool,
}

impl Worker {
    fn has_room(&self, now: Instant, settings: &DispatchSettings) -> bool {
        let answers = |oldest: &Offer| now.duration_since(oldest.since) < settings.patience;
        self.standing == Standing::Serving
            && !self.leaving
            && self.in_hand.len() < settings.window
            && self.in_hand.first().is_none_or(answers)
    }
}

/// A connection that a worker has not answered yet.
#[derive(Clone, Copy, Debug)]
struct Offer {
    connection: ConnectionId,
    listener: ListenerId,
    since: Instant,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    settings: DispatchSettings,
    /// How long a worker may take from closing its last listener until it says that it
    /// leaves.
    leave_linger: Duration,
    listeners: BTreeMap<ListenerId, Listener>,
    by_spec: HashMap<ListenerSpec, ListenerId>,
    workers: BTreeMap<WorkerId, Worker>,
    timers: Timers<Timer>,
    next_listener: u32,
    turn: u64,
    stopping: bool,
}

impl Dispatcher {
    pub(crate) fn new(settings: DispatchSettings, leave_linger: Duration) -> Self {
        Self {
            settings,
            leave_linger,
            listeners: BTreeMap::new(),
            by_spec: HashMap::new(),
            workers: BTreeMap::new(),
            timers: Timers::new(),
            next_listener: 0,
            turn: 0,
            stopping: false,
        }
    }

    /// Whether a connection accepted on this listener could be offered at once.
    pub(crate) fn has_capacity(&self, now: Instant, listener: ListenerId) -> bool {
        let Some(entry) = self.listeners.get(&listener) else { return false };
        let ready = entry.binding == Binding::Open && !entry.paused && !self.stopping;
        ready && entry.queue.is_empty() && self.choose(now, entry).is_some()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, out: &mut VecDeque<Action>) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Linger(listener) => self.close_if_unheld(listener, out),
                Timer::AcceptPause(listener) => self.end_accept_pause(listener),
                Timer::Declined(listener, worker) => self.end_pause(now, listener, worker, out),
            }
        }
    }

    pub(crate) fn worker_started(&mut self, worker: WorkerId, slot: SlotId, standing: Standing) {
        let (asked, in_hand) = (Vec::new(), Vec::new());
        let entry = Worker { slot, standing, asked, in_hand, last_turn: 0, leaving: false };
        self.workers.insert(worker, entry);
    }

    /// A worker that was held back, or a spare, takes part from now on.
    pub(crate) fn worker_serves(
        &mut self,
        now: Instant,
        worker: WorkerId,
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        entry.standing = Standing::Serving;
        for query in std::mem::take(&mut entry.asked) {
            self.query(now, query, out);
        }
        self.place_for(now, worker, out);
    }

    /// Whether this question of a spare waits for the spare to be needed.
    pub(crate) fn has_put_off(&self, worker: WorkerId, seq: u64) -> bool {
        let asked = self.workers.get(&worker).map(|entry| &entry.asked);
        asked.is_some_and(|asked| asked.iter().any(|query| query.seq == seq))
    }

    /// A listener by which this worker can be given a connection.
    pub(crate) fn stream_listener_of(&self, worker: WorkerId) -> Option<ListenerId> {
        let serves = |entry: &Listener| {
            entry.members.contains_key(&worker) && !entry.spec.endpoint.is_datagram()
        };
        self.listeners.iter().find(|(_, entry)| serves(entry)).map(|(id, _)| *id)
    }

    /// A worker asks for an address.
    pub(crate) fn query(&mut self, now: Instant, query: Query, out: &mut VecDeque<Action>) {
        let Some(entry) = self.workers.get_mut(&query.worker).filter(|entry| !entry.leaving) else {
            return;
        };
        let slot = entry.slot;
        // Beyond the bound it goes unanswered for good: there cannot be that many.
        if entry.standing == Standing::Spare {
            if entry.asked.len() < MAX_LISTENERS {
                entry.asked.push(query);
            }
            return;
        }
        self.not_on_its_way_out(now, query.worker);
        match self.by_spec.get(&query.spec).copied() {
            Some(listener) => self.join(now, (listener, slot), &query, out),
            None => self.open(slot, query, out),
        }
    }

    pub(crate) fn listener_opened(
        &mut self,
        now: Instant,
        listener: ListenerId,
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.listeners.get_mut(&listener) else { return };
        let Binding::Opening { waiting } = std::mem::replace(&mut entry.binding, Binding::Open)
        else {
            return;
        };
        for (worker, seq) in waiting {
            self.grant(now, listener, (worker, seq), out);
        }
    }

    pub(crate) fn listener_failed(
        &mut self,
        listener: ListenerId,
        errno: i32,
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.listeners.remove(&listener) else { return };
        self.by_spec.remove(&entry.spec);
        let Binding::Opening { waiting } = entry.binding else { return };
        for (worker, seq) in waiting {
            let refusal = Refusal::System(errno);
            out.push_back(Action::Refuse { worker, seq, listener, refusal });
        }
    }

    pub(crate) fn accepted(
        &mut self,
        now: Instant,
        listener: ListenerId,
        connection: ConnectionId,
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.listeners.get_mut(&listener) else {
            out.push_back(Action::Release { connection });
            return;
        };
        entry.queue.push_back(connection);
        self.place(now, listener, out);
    }

    pub(crate) fn accept_failed(&mut self, now: Instant, listener: ListenerId) {
        let Some(entry) = self.listeners.get_mut(&listener) else { return };
        entry.paused = true;
        self.timers.set_after(Timer::AcceptPause(listener), now, self.settings.accept_pause);
    }

    pub(crate) fn replied(
        &mut self,
        now: Instant,
        worker: WorkerId,
        connection: ConnectionId,
        verdict: Verdict,
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        let Some(at) = entry.in_hand.iter().position(|offer| offer.connection == connection) else {
            return;
        };
        let listener = entry.in_hand.remove(at).listener;
        match verdict {
            Verdict::Accepted => {
                out.push_back(Action::Release { connection });
                self.forgive(listener, worker);
            }
            Verdict::Declined => {
                self.pause(now, listener, worker);
                self.requeue(now, listener, connection, out);
            }
        }
        self.place_for(now, worker, out);
    }

    /// Nothing is handed out any more, and every listener is closed.
    pub(crate) fn stop(&mut self, out: &mut VecDeque<Action>) {
        self.stopping = true;
        for listener in self.all() {
            self.close(listener, out);
        }
    }

    fn join(
        &mut self,
        now: Instant,
        (id, slot): (ListenerId, SlotId),
        query: &Query,
        out: &mut VecDeque<Action>,
    ) {
        let Some(listener) = self.listeners.get_mut(&id) else { return };
        if listener.is_held_by(query.worker) {
            return out.push_back(query.refused(id, Refusal::AlreadyHeld));
        }
        listener.hold(query.worker, slot);
        listener.closer = None;
        self.timers.cancel(Timer::Linger(id));
        match &mut listener.binding {
            Binding::Opening { waiting } => waiting.push((query.worker, query.seq)),
            Binding::Open => self.grant(now, id, (query.worker, query.seq), out),
        }
    }

    fn open(&mut self, slot: SlotId, query: Query, out: &mut VecDeque<Action>) {
        self.make_room_for(&query.spec.endpoint, out);
        let id = ListenerId(self.next_listener);
        self.next_listener += 1;
        if self.stopping || self.listeners.len() >= MAX_LISTENERS {
            let refusal = if self.stopping { Refusal::Stopping } else { Refusal::TooMany };
            return out.push_back(query.refused(id, refusal));
        }
        let mut listener = Listener::new(query.spec.clone(), query.policy);
        listener.hold(query.worker, slot);
        listener.binding = Binding::Opening { waiting: vec![(query.worker, query.seq)] };
        out.push_back(Action::OpenListener {
            listener: id,
            spec: query.spec.clone(),
            policy: listener.policy,
            backlog: query.backlog,
        });
        self.by_spec.insert(query.spec, id);
        self.listeners.insert(id, listener);
    }

    fn grant(
        &mut self,
        now: Instant,
        id: ListenerId,
        (worker, seq): (WorkerId, u64),
        out: &mut VecDeque<Action>,
    ) {
        let Some(listener) = self.listeners.get_mut(&id) else { return };
        listener.members.insert(worker, Member::default());
        out.push_back(Action::Grant { worker, seq, listener: id });
        self.place(now, id, out);
    }

    /// The free worker with the least in hand; among equals the one whose turn is longest
    /// ago.
    fn choose(&self, now: Instant, listener: &Listener) -> Option<WorkerId> {
        listener
            .members
            .iter()
            .filter(|(_, member)| !member.paused)
            .filter_map(|(id, _)| self.workers.get(id).map(|worker| (id, worker)))
            .filter(|(_, worker)| worker.has_room(now, &self.settings))
            .min_by_key(|(_, worker)| (worker.in_hand.len(), worker.last_turn))
            .map(|(id, _)| *id)
    }

    fn place(&mut self, now: Instant, id: ListenerId, out: &mut VecDeque<Action>) {
        while let Some(listener) = self.listeners.get(&id) {
            let Some(connection) = listener.queue.front().copied() else { return };
            let Some(worker) = self.choose(now, listener) else { return };
            self.hand_off(now, id, worker, connection, out);
        }
    }

    fn hand_off(
        &mut self,
        now: Instant,
        listener: ListenerId,
        worker: WorkerId,
        connection: ConnectionId,
        out: &mut VecDeque<Action>,
    ) {
        if let Some(entry) = self.listeners.get_mut(&listener) {
            entry.queue.pop_front();
        }
        if let Some(entry) = self.workers.get_mut(&worker) {
            self.turn += 1;
            entry.last_turn = self.turn;
            entry.in_hand.push(Offer { connection, listener, since: now });
        }
        out.push_back(Action::HandOff { worker, listener, connection });
    }

    /// Places what waits on the listeners that this worker serves.
    fn place_for(&mut self, now: Instant, worker: WorkerId, out: &mut VecDeque<Action>) {
        if self.listeners.values().all(|entry| entry.queue.is_empty()) {
            return;
        }
        let served: Vec<_> = self
            .listeners
            .iter()
            .filter(|(_, entry)| entry.members.contains_key(&worker))
            .map(|(id, _)| *id)
            .collect();
        for listener in served {
            self.place(now, listener, out);
        }
    }

    fn requeue(
        &mut self,
        now: Instant,
        listener: ListenerId,
        connection: ConnectionId,
        out: &mut VecDeque<Action>,
    ) {
        match self.listeners.get_mut(&listener) {
            Some(entry) => {
                entry.queue.push_front(connection);
                self.place(now, listener, out);
            }
            None => out.push_back(Action::Release { connection }),
        }
    }

    fn pause(&mut self, now: Instant, listener: ListenerId, worker: WorkerId) {
        let Some(entry) = self.listeners.get_mut(&listener) else { return };
        let Some(member) = entry.members.get_mut(&worker) else { return };
        let pause = member.decline();
        self.timers.set_after(Timer::Declined(listener, worker), now, pause);
    }

    fn forgive(&mut self, listener: ListenerId, worker: WorkerId) {
        let Some(entry) = self.listeners.get_mut(&listener) else { return };
        if let Some(member) = entry.members.get_mut(&worker)
            && member.declined > 0
        {
            *member = Member::default();
            self.timers.cancel(Timer::Declined(listener, worker));
        }
    }

    fn end_pause(
        &mut self,
        now: Instant,
        listener: ListenerId,
        worker: WorkerId,
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.listeners.get_mut(&listener) else { return };
        if let Some(member) = entry.members.get_mut(&worker) {
            member.paused = false;
        }
        self.place(now, listener, out);
    }

    fn end_accept_pause(&mut self, listener: ListenerId) {
        if let Some(entry) = self.listeners.get_mut(&listener) {
            entry.paused = false;
        }
    }
}

#[cfg(test)]
mod tests;
