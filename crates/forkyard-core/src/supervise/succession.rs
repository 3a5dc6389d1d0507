//! How a successor comes to a seat that is taken.
//!
//! ```text
//!            ready            healthy           settle time over
//!   Booting ───────▶ Checking ───────▶ Settling ────────────────▶ Seated
//!      │                │                 │                          │
//!      │ time-out       │ or not          │ its end                  ▼
//!      └────────────────┴──────┬──────────┘            its predecessor leaves
//!                              ▼
//!                           Failed: it is ended, the predecessor keeps the seat
//! ```
//!
//! Until it is seated it gets no connections, so whatever it does is nobody's loss. What is
//! no good for a seat is no good for the roll either: see [`super::roll`].

use std::time::Instant;

use super::settings::{CheckRule, ReadyRule, Role};
use super::slot::SeatState;
use super::worker::{Place, Way};
use super::{Notice, Supervisor, Timer};
use crate::dispatch::Standing;
use crate::event::{Event, LeaveReason, RollFailure, RollStep};
use crate::id::{Generation, SlotId, WorkerId};
use crate::input::{Action, Stage};
use crate::restart::History;

impl Supervisor {
    pub(super) fn start_successor(&mut self, now: Instant, slot: SlotId, generation: Generation) {
        let Some(entry) = self.slots.get(&slot) else { return };
        let standing = match entry.role {
            Role::Serving => Standing::HeldBack,
            Role::Spare => Standing::Spare,
        };
        let place = Place::Successor(Way::Booting);
        let worker = self.start(now, slot, generation, (place, standing));
        if let Some(entry) = self.slots.get_mut(&slot) {
            entry.successor = Some(worker);
        }
        self.tell_step(worker, RollStep::Starting);
    }

    pub(super) fn successor_runs(&mut self, now: Instant, worker: WorkerId) {
        self.timers.set_after(Timer::Start(worker), now, self.settings.ready_timeout);
        self.tell_step(worker, RollStep::Waiting(self.rule_for(worker)));
    }

    /// A successor is ready, as far as it can tell by itself.
    pub(super) fn successor_came_up(&mut self, now: Instant, worker: WorkerId) {
        if self.settings.check == CheckRule::Ask && self.role_of(worker) == Role::Serving {
            self.set_way(worker, Way::Checking);
            self.tell_step(worker, RollStep::Checking);
            self.decisions.act(Action::Check { worker });
        } else {
            self.settle(now, worker);
        }
    }

    pub(crate) fn checked(&mut self, now: Instant, worker: WorkerId, result: Result<(), String>) {
        if !self.is_on_its_way(worker, Way::Checking) {
            return;
        }
        match result {
            Ok(()) => self.settle(now, worker),
            Err(message) => {
                self.successor_failed(now, worker, RollFailure::Unhealthy { message });
            }
        }
    }

    fn settle(&mut self, now: Instant, worker: WorkerId) {
        self.timers.cancel(Timer::Start(worker));
        self.set_way(worker, Way::Settling);
        if self.settings.settle.is_zero() {
            return self.take_seat(now, worker);
        }
        self.tell_step(worker, RollStep::Settling);
        self.timers.set_after(Timer::Settle(worker), now, self.settings.settle);
    }

    /// The settle time is over.
    pub(super) fn settled(&mut self, now: Instant, worker: WorkerId) {
        if self.is_on_its_way(worker, Way::Settling) {
            self.take_seat(now, worker);
        }
    }

    /// From here on connections go to the successor; only then its predecessor is asked to
    /// leave.
    fn take_seat(&mut self, now: Instant, worker: WorkerId) {
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        entry.place = Place::Seated;
        let (slot, generation) = (entry.slot, entry.generation);
        let Some(seat) = self.slots.get_mut(&slot) else { return };
        let predecessor = seat.worker();
        seat.seat = SeatState::Taken(worker);
        seat.successor = None;
        seat.generation = generation;
        seat.history = History::default();
        if seat.role == Role::Serving {
            self.decisions.notify(Notice::Serves { worker });
        }
        self.timers.cancel(Timer::Restart(slot));
        let step = predecessor.and_then(|predecessor| self.unseat(now, predecessor));
        self.tell_step(worker, RollStep::Seated);
        if let Some((predecessor, stage)) = predecessor.zip(step) {
            self.take_step(now, predecessor, stage);
        }
        self.roll_placed(now, slot);
    }

    /// A worker gets no more connections, because another one has its seat. Returns the step by
    /// which it is to be ended.
    fn unseat(&mut self, now: Instant, predecessor: WorkerId) -> Option<Stage> {
        // While it still counts as seated, so that what it listens on is kept for its
        // successor, which may not have come to that yet.
        let (reason, stage) = (LeaveReason::Replaced, Stage::Disconnect);
        let step = self.begin_leaving(now, predecessor, reason, stage);
        self.workers.get_mut(&predecessor)?.place = Place::Former;
        step
    }

    pub(super) fn successor_timed_out(&mut self, now: Instant, worker: WorkerId) {
        let (after, rule) = (self.settings.ready_timeout, self.rule_for(worker));
        let why = match self.is_on_its_way(worker, Way::Checking) {
            true => RollFailure::Unhealthy { message: "the check took too long".into() },
            false => RollFailure::NotReady { after, rule },
        };
        self.successor_failed(now, worker, why);
    }

    /// A successor is on its way out without having been asked to.
    pub(super) fn successor_leaves(&mut self, now: Instant, worker: WorkerId) {
        self.successor_failed(now, worker, RollFailure::Left);
    }

    fn successor_failed(&mut self, now: Instant, worker: WorkerId, why: RollFailure) {
        let Some(entry) = self.workers.get(&worker) else { return };
        let (slot, Place::Successor(way)) = (entry.slot, entry.place) else { return };
        if way != Way::Failed {
            self.end_successor(now, worker);
            self.roll_failed(now, (slot, worker), why);
        }
    }

    /// Ends a successor that is not, or no longer, wanted.
    pub(super) fn end_successor(&mut self, now: Instant, worker: WorkerId) {
        self.set_way(worker, Way::Failed);
        self.timers.cancel(Timer::Settle(worker));
        self.leave(now, worker, LeaveReason::RolledBack, Stage::Terminate);
    }

    /// A successor's process is gone.
    pub(super) fn successor_ended(
        &mut self,
        now: Instant,
        (slot, worker): (SlotId, WorkerId),
        way: Way,
        why: RollFailure,
    ) {
        if let Some(entry) = self.slots.get_mut(&slot)
            && entry.successor == Some(worker)
        {
            entry.successor = None;
            self.may_go(slot);
        }
        match way {
            Way::Failed => self.roll_on(now),
            Way::Booting | Way::Checking | Way::Settling => {
                self.roll_failed(now, (slot, worker), why);
            }
        }
    }

    /// Whether a successor has come this far, and nothing keeps it from going on.
    pub(super) fn is_on_its_way(&self, worker: WorkerId, way: Way) -> bool {
        self.workers.get(&worker).is_some_and(|entry| {
            let is_sound = entry.leaving.is_none() && !entry.is_cut_off();
            entry.place == Place::Successor(way) && is_sound
        })
    }

    fn set_way(&mut self, worker: WorkerId, way: Way) {
        if let Some(entry) = self.workers.get_mut(&worker) {
            entry.place = Place::Successor(way);
        }
    }

    /// A spare cannot do more than ask for its address.
    fn rule_for(&self, worker: WorkerId) -> ReadyRule {
        match self.role_of(worker) {
            Role::Serving => self.settings.ready,
            Role::Spare => ReadyRule::Listening,
        }
    }

    pub(super) fn role_of(&self, worker: WorkerId) -> Role {
        let slot = self.workers.get(&worker).and_then(|entry| self.slots.get(&entry.slot));
        slot.map_or(Role::Serving, |slot| slot.role)
    }

    fn tell_step(&mut self, worker: WorkerId, step: RollStep) {
        if let Some(entry) = self.workers.get(&worker) {
            self.decisions.tell(Event::RollStep { slot: entry.slot, worker, step });
        }
    }
}
