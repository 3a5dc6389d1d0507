//! How long a listener stays open.
//!
//! ```text
//!                    a worker of the slot asks for it
//!           ┌───────────────────────────────────────────────┐
//!           ▼                                               │
//!   held by a worker ───────── it leaves ───────▶ held for its successor
//!       │       ▲                                   ▲       │
//!       │closed │asked for       the last to close  │       │settled without it,
//!       ▼       │                it leaves          │       ▼or the slot is gone
//!   nobody's, lingers ──────────────────────────────┘   nobody's, lingers
//!       │
//!       │ time-out, or in the way of a new address
//!       ▼
//!     closed ◀─── from everywhere by a stop
//! ```
//!
//! Slots hold listeners, not workers: when a worker dies its slot goes on holding what it
//! held until a successor has settled, so clients meet an open port in between.
//!
//! A Node worker that leaves by itself closes its listeners at once and says that it
//! leaves when its connections are done, which may be many seconds later. So a worker that
//! holds no listener any more is probably on its way out, and what it was the last to close
//! is kept for that long.

use std::collections::VecDeque;
use std::time::Instant;

use super::listener::{Binding, Closer, Endpoint, Hold, Listener, Member, Refusal};
use super::worker::Standing;
use super::{Dispatcher, MAX_LISTENERS, Seat, Timer};
use crate::id::{ListenerId, SlotId, WorkerId};
use crate::input::Action;

impl Dispatcher {
    pub(crate) fn closed(
        &mut self,
        now: Instant,
        worker: WorkerId,
        listener: ListenerId,
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.listeners.get_mut(&listener) else { return };
        let Some(member) = entry.members.remove(&worker) else { return };
        entry.holds.remove(&Hold::Worker(worker));
        entry.closer = Some(Closer { worker, at: now });
        self.timers.cancel(Timer::Declined(listener, worker));
        self.give_up_lane(listener, Some(member), out);
        self.linger_if_unheld(now, listener);
        for id in self.all() {
            if self.was_closed_by(id, worker) {
                self.wait_for_closer(id);
            }
        }
    }

    /// The worker gets no more connections. What it was offered is still its to answer.
    pub(crate) fn leaving(
        &mut self,
        now: Instant,
        worker: WorkerId,
        seat: Seat,
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        if std::mem::replace(&mut entry.leaving, true) {
            return;
        }
        let slot = entry.slot;
        self.withdraw(now, (worker, slot), seat, out);
    }

    /// The worker's channel is read to its end: what it has not answered goes to others.
    pub(crate) fn ended(&mut self, now: Instant, worker: WorkerId, out: &mut VecDeque<Action>) {
        let Some(entry) = self.workers.remove(&worker) else { return };
        if !entry.leaving {
            // What only a successor had asked for nobody expects of anybody else.
            let seat = match entry.standing {
                Standing::Serving => Seat::StaysWanted,
                Standing::HeldBack | Standing::Spare => Seat::GoesAway,
            };
            self.withdraw(now, (worker, entry.slot), seat, out);
        }
        self.free_lanes(worker);
        for offer in entry.in_hand.into_iter().rev() {
            self.requeue(now, offer.listener, offer.waiting, out);
        }
        self.place_all(now, out);
    }

    /// The slot's worker has settled: addresses that it did not ask for are not wanted.
    pub(crate) fn settled(&mut self, now: Instant, slot: SlotId) {
        self.drop_expectations(now, slot);
    }

    /// The slot will have no more workers, or none that serve.
    pub(crate) fn slot_gone(&mut self, now: Instant, slot: SlotId) {
        self.drop_expectations(now, slot);
    }

    /// A worker that asks for an address means to stay.
    pub(super) fn not_on_its_way_out(&mut self, now: Instant, worker: WorkerId) {
        for id in self.all() {
            if self.was_closed_by(id, worker) {
                self.linger_shortly(now, id);
            }
        }
    }

    /// Closes what nobody holds and the new address could not be bound beside.
    pub(super) fn make_room_for(&mut self, endpoint: &Endpoint, out: &mut VecDeque<Action>) {
        let is_full = self.listeners.len() >= MAX_LISTENERS;
        for id in self.all() {
            let Some(entry) = self.listeners.get(&id) else { continue };
            let in_the_way = entry.spec.endpoint.is_in_the_way_of(endpoint);
            if is_full || in_the_way {
                self.close_if_unheld(id, out);
            }
        }
    }

    pub(super) fn all(&self) -> Vec<ListenerId> {
        self.listeners.keys().copied().collect()
    }

    /// Takes a worker out of every listener.
    fn withdraw(
        &mut self,
        now: Instant,
        (worker, slot): (WorkerId, SlotId),
        seat: Seat,
        out: &mut VecDeque<Action>,
    ) {
        for id in self.all() {
            let was_unheld = self.is_unheld(id);
            let was_closer = self.was_closed_by(id, worker);
            let member = self.withdraw_from(id, worker, slot, seat);
            self.give_up_lane(id, member, out);
            if !was_unheld {
                self.linger_if_unheld(now, id);
            } else if was_closer {
                self.linger_shortly(now, id);
            }
        }
    }

    fn withdraw_from(
        &mut self,
        id: ListenerId,
        worker: WorkerId,
        slot: SlotId,
        seat: Seat,
    ) -> Option<Member> {
        let entry = self.listeners.get_mut(&id)?;
        let member = entry.members.remove(&worker);
        if member.is_some() {
            self.timers.cancel(Timer::Declined(id, worker));
        }
        if let Binding::Opening { waiting } = &mut entry.binding {
            waiting.retain(|(waiter, _)| *waiter != worker);
        }
        // A slot that waits for its successor may yet go away.
        let closed_on_the_way_out = entry.is_unserved() && entry.was_closed_by(worker);
        let held = entry.holds.remove(&Hold::Worker(worker));
        if seat == Seat::StaysWanted && (held || closed_on_the_way_out) {
            entry.holds.insert(Hold::Successor(slot));
            self.timers.cancel(Timer::Linger(id));
        }
        member
    }

    fn drop_expectations(&mut self, now: Instant, slot: SlotId) {
        for id in self.all() {
            let Some(entry) = self.listeners.get_mut(&id) else { continue };
            if entry.holds.remove(&Hold::Successor(slot)) {
                self.linger_if_unheld(now, id);
            }
        }
    }

    fn is_unheld(&self, id: ListenerId) -> bool {
        self.listeners.get(&id).is_some_and(Listener::is_unheld)
    }

    fn was_closed_by(&self, id: ListenerId, worker: WorkerId) -> bool {
        self.listeners.get(&id).is_some_and(|entry| entry.was_closed_by(worker))
    }

    /// Whether the worker is there and holds no listener.
    fn may_be_on_its_way_out(&self, worker: WorkerId) -> bool {
        let is_there = self.workers.get(&worker).is_some_and(|entry| !entry.leaving);
        is_there && self.listeners.values().all(|listener| !listener.is_held_by(worker))
    }

    fn linger_if_unheld(&mut self, now: Instant, id: ListenerId) {
        if self.is_unheld(id) {
            self.timers.set_after(Timer::Linger(id), now, self.settings.linger);
            self.wait_for_closer(id);
        }
    }

    /// Lingers for a worker that may be on its way out. The time counts from the closing, so
    /// that nothing the worker does later can prolong it.
    fn wait_for_closer(&mut self, id: ListenerId) {
        let Some(entry) = self.listeners.get(&id).filter(|entry| entry.is_unheld()) else { return };
        let Some(Closer { worker, at }) = entry.closer else { return };
        if self.may_be_on_its_way_out(worker) {
            self.timers.set_later(Timer::Linger(id), at, self.leave_linger);
        }
    }

    /// Ends the lingering soon, if it would not end sooner.
    fn linger_shortly(&mut self, now: Instant, id: ListenerId) {
        if self.is_unheld(id) {
            self.timers.set_sooner(Timer::Linger(id), now, self.settings.linger);
        }
    }

    pub(super) fn close_if_unheld(&mut self, id: ListenerId, out: &mut VecDeque<Action>) {
        if self.is_unheld(id) {
            self.close(id, out);
        }
    }

    pub(super) fn close(&mut self, id: ListenerId, out: &mut VecDeque<Action>) {
        let Some(entry) = self.listeners.remove(&id) else { return };
        self.by_spec.remove(&entry.spec);
        self.timers.cancel(Timer::Linger(id));
        self.timers.cancel(Timer::AcceptPause(id));
        for worker in entry.members.keys() {
            self.timers.cancel(Timer::Declined(id, *worker));
        }
        for waiting in entry.queue {
            out.push_back(Action::Release { connection: waiting.connection });
        }
        if let Binding::Opening { waiting } = entry.binding {
            for (worker, seq) in waiting {
                out.push_back(Action::Refuse {
                    worker,
                    seq,
                    listener: id,
                    refusal: Refusal::Stopping,
                });
            }
        }
        out.push_back(Action::CloseListener { listener: id });
    }
}
