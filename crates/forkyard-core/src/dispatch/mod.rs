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
//! came back, which is bounded by workers × window; and under `ip-hash`, where the worker
//! is known only once the connection is accepted, up to [`DispatchSettings::waiting`] more.
//!
//! | file | is about |
//! |---|---|
//! | [`policy`] | what can be asked for, and what is in force |
//! | [`addresses`] | workers ask for addresses |
//! | [`inheritance`] | addresses with which workers are started |
//! | [`placing`] | which worker gets a connection that the primary accepted |
//! | [`origin`] | which slot serves which clients |
//! | [`lanes`] | sockets of the workers' own, to which the kernel deals |
//! | [`keeping`] | how long a listener stays open |

mod addresses;
mod inheritance;
mod keeping;
mod lanes;
mod listener;
mod origin;
mod placing;
mod policy;
pub(crate) mod snapshot;
mod worker;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::id::{LaneId, ListenerId, SlotId, WorkerId};
use crate::input::Action;
use crate::timers::Timers;

pub use lanes::{DealtLane, LaneView, MAX_LANES};
use listener::Listener;
pub use listener::{Access, Endpoint, Host, ListenerSpec, Refusal, Transport};
pub use origin::{ORIGIN_CLASSES, slot_of_class};
pub use policy::{Choice, Dealing, Origin, Policy};
pub(crate) use worker::Standing;
use worker::Worker;

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
    /// How many connections may wait for the one worker that is theirs, under `ip-hash`.
    pub waiting: usize,
    /// A worker that has taken nothing from its lane for this long, although something waits
    /// there, is blocked. Less than the time between two looks, so that the second one shows it.
    pub rescue_after: Duration,
    /// When a blocked worker that does not answer is dealt to again, to see whether it takes
    /// what it gets.
    pub trial_after: Duration,
}

impl Default for DispatchSettings {
    fn default() -> Self {
        Self {
            window: 2,
            patience: Duration::from_millis(5),
            linger: Duration::from_secs(1),
            accept_pause: Duration::from_millis(100),
            waiting: 1024,
            rescue_after: Duration::from_millis(4),
            trial_after: Duration::from_secs(1),
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
    /// A blocked worker is tried again.
    Trial(WorkerId),
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
    /// Lanes that are to be renewed. Nobody gets them before that has been done.
    renewing: Vec<(ListenerId, LaneId)>,
    next_listener: u32,
    /// The dispatcher's own time: the turn of the last worker that was chosen.
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
            renewing: Vec::new(),
            next_listener: 0,
            turn: 0,
            stopping: false,
        }
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
                Timer::Trial(worker) => self.try_again(now, worker, out),
            }
        }
    }

    pub(crate) fn worker_started(
        &mut self,
        worker: WorkerId,
        slot: SlotId,
        standing: Standing,
        out: &mut VecDeque<Action>,
    ) {
        self.workers.insert(worker, Worker::new(slot, standing));
        self.bequeath(worker, out);
    }

    /// A worker that was held back, or a spare, takes part from now on. What waits for it is
    /// handed out by [`Self::place_all`].
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
        for id in self.all() {
            self.deal(id, out);
        }
    }

    /// Whether this question of a spare waits for the spare to be needed.
    pub(crate) fn has_put_off(&self, worker: WorkerId, seq: u64) -> bool {
        let asked = self.workers.get(&worker).map(|entry| &entry.asked);
        asked.is_some_and(|asked| asked.iter().any(|query| query.seq == seq))
    }

    /// A listener by which this worker can be given a connection.
    pub(crate) fn stream_listener_of(&self, worker: WorkerId) -> Option<ListenerId> {
        let serves = |entry: &Listener| {
            let member = entry.members.get(&worker);
            let can_be_handed = member.is_some_and(|member| member.access == Access::Asked);
            can_be_handed && !entry.spec.endpoint.is_datagram()
        };
        self.listeners.iter().find(|(_, entry)| serves(entry)).map(|(id, _)| *id)
    }

    /// Nothing is handed out any more, and every listener is closed.
    pub(crate) fn stop(&mut self, out: &mut VecDeque<Action>) {
        self.stopping = true;
        for listener in self.all() {
            self.close(listener, out);
        }
    }

    fn end_accept_pause(&mut self, listener: ListenerId) {
        if let Some(entry) = self.listeners.get_mut(&listener) {
            entry.paused = false;
        }
    }
}

#[cfg(test)]
mod tests;
