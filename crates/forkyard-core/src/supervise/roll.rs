//! Replaces one generation by the next, slot by slot.
//!
//! ```text
//!                     every seat taken anew
//!   Forward ─────────────────────────────────────────▶ finished
//!      │
//!      │ a successor was no good, or a worker that had a seat crashed
//!      ▼
//!    Back ───────────────────────────────────────────▶ rolled back
//!            what had been replaced is replaced back
//! ```
//!
//! At most `surge` successors exist at a time. A predecessor that finishes what it has is
//! not counted: it may take as long as its longest connection. On the way back a successor
//! that is no good changes nothing: its seat keeps the worker that it has.

use std::collections::VecDeque;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::settings::{Role, RollPlan};
use super::slot::{SeatState, Slot};
use super::worker::{Place, Progress, Worker};
use super::{MAX_SLOTS, Supervisor};
use crate::event::{Event, LeaveReason, RollExtent, RollFailure, RollReason};
use crate::id::{Generation, SlotId, WorkerId};
use crate::input::{Admission, Denied};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Direction {
    Forward,
    Back,
}

/// A roll under way.
#[derive(Debug)]
pub(super) struct Roll {
    pub(super) reason: RollReason,
    pub(super) since: Instant,
    pub(super) direction: Direction,
    /// What is brought in, and what served before.
    pub(super) generation: Generation,
    pub(super) previous: Generation,
    pub(super) surge: usize,
    /// Seats whose turn has not come.
    pub(super) waiting: VecDeque<SlotId>,
    /// Seats that have been taken anew.
    pub(super) placed: Vec<SlotId>,
    /// Slots that were not there before.
    pub(super) added: Vec<SlotId>,
    /// Slots that go away in the end.
    pub(super) surplus: Vec<SlotId>,
}

impl Roll {
    fn target(&self) -> Generation {
        match self.direction {
            Direction::Forward => self.generation,
            Direction::Back => self.previous,
        }
    }

    fn extent(&self) -> RollExtent {
        let added = self.added.len();
        let replaced = self.waiting.len() - added;
        RollExtent { replaced, added, removed: self.surplus.len(), surge: self.surge }
    }

    pub(super) fn needs(&self, generation: Generation) -> bool {
        generation == self.generation || generation == self.previous
    }
}

impl Supervisor {
    /// Begins to replace everything.
    pub(crate) fn roll(&mut self, now: Instant, plan: RollPlan) -> Admission {
        if let Some(denied) = self.busy() {
            return Admission::Denied(denied);
        }
        let (mut serving, spares) = self.slots_by_role();
        let workers = plan.workers.unwrap_or(serving.len()).max(1);
        if workers.saturating_add(spares.len()) > MAX_SLOTS {
            return Admission::Denied(Denied::TooManySlots);
        }
        let surplus = serving.split_off(serving.len().min(workers));
        // Before there is any slot there is nothing to be many of.
        let missing = if self.slots.is_empty() { 0 } else { workers - serving.len() };
        let added: Vec<_> = (0..missing).map(|_| self.add_slot(Role::Serving)).collect();
        let waiting: VecDeque<_> = [serving, added.clone(), spares].concat().into();
        let roll = Roll {
            reason: RollReason::Reload,
            since: now,
            direction: Direction::Forward,
            generation: plan.generation,
            previous: self.generation,
            surge: plan.surge.of(workers),
            waiting,
            placed: Vec::new(),
            added,
            surplus,
        };
        self.begin(now, roll);
        Admission::Accepted
    }

    /// Begins to exchange the worker in one slot.
    pub(crate) fn replace(&mut self, now: Instant, slot: SlotId) -> Admission {
        if let Some(denied) = self.busy() {
            return Admission::Denied(denied);
        }
        let Some(entry) = self.slots.get(&slot).filter(|entry| !entry.is_retiring()) else {
            return Admission::Denied(Denied::NoSuchSlot);
        };
        let generation = entry.generation;
        let roll = Roll {
            reason: RollReason::Replace,
            since: now,
            direction: Direction::Forward,
            generation,
            previous: generation,
            surge: 1,
            waiting: VecDeque::from([slot]),
            placed: Vec::new(),
            added: Vec::new(),
            surplus: Vec::new(),
        };
        self.begin(now, roll);
        Admission::Accepted
    }

    /// Those that stay, in order.
    pub(super) fn slots_by_role(&self) -> (Vec<SlotId>, Vec<SlotId>) {
        let staying = self.slots.iter().filter(|(_, slot)| !slot.is_retiring());
        let (serving, spare): (Vec<_>, Vec<_>) =
            staying.partition(|(_, slot)| slot.role == Role::Serving);
        let ids = |slots: Vec<(&SlotId, &Slot)>| slots.into_iter().map(|(id, _)| *id).collect();
        (ids(serving), ids(spare))
    }

    fn begin(&mut self, now: Instant, roll: Roll) {
        let (generation, reason, extent) = (roll.generation, roll.reason, roll.extent());
        self.decisions.tell(Event::RollStarted { generation, reason, extent });
        self.roll = Some(roll);
        self.roll_on(now);
    }

    /// Starts as many successors as there may be; or, when none is left to wait for, ends.
    pub(super) fn roll_on(&mut self, now: Instant) {
        while let Some(roll) = &mut self.roll {
            let is_successor = |entry: &&Worker| matches!(entry.place, Place::Successor(_));
            let under_way = self.workers.values().filter(is_successor).count();
            if under_way < roll.surge
                && let Some(slot) = roll.waiting.pop_front()
            {
                let target = roll.target();
                if self.wants_successor(slot, target) {
                    self.start_successor(now, slot, target);
                }
            } else if under_way == 0 {
                return self.end_roll(now);
            } else {
                return;
            }
        }
    }

    /// Going back, only who has really been replaced is replaced back.
    fn wants_successor(&self, slot: SlotId, target: Generation) -> bool {
        let Some(entry) = self.slots.get(&slot).filter(|entry| !entry.is_retiring()) else {
            return false;
        };
        let is_back = self.roll.as_ref().is_some_and(|roll| roll.direction == Direction::Back);
        let seated = entry.worker().and_then(|worker| self.workers.get(&worker));
        !is_back || seated.is_some_and(|worker| worker.generation != target)
    }

    /// A successor has its seat.
    pub(super) fn roll_placed(&mut self, now: Instant, slot: SlotId) {
        if let Some(roll) = &mut self.roll
            && roll.direction == Direction::Forward
            && !roll.added.contains(&slot)
        {
            roll.placed.push(slot);
        }
        self.roll_on(now);
    }

    /// A worker with a seat has ended. If it was a crash of one that this roll has brought
    /// in, what it was brought in with is no good.
    pub(super) fn may_fail_roll(
        &mut self,
        now: Instant,
        worker: WorkerId,
        entry: &Worker,
        why: RollFailure,
    ) {
        let Some(roll) = &self.roll else { return };
        let is_new = entry.generation == roll.generation && roll.generation != roll.previous;
        let reason = entry.leaving.map(|leaving| leaving.reason);
        let is_crash = matches!(reason, None | Some(LeaveReason::Unusable));
        if is_new && is_crash && roll.direction == Direction::Forward {
            self.roll_failed(now, (entry.slot, worker), why);
        }
    }

    /// Turns back; or, if it is on the way back, leaves the seat as it is.
    pub(super) fn roll_failed(
        &mut self,
        now: Instant,
        (slot, worker): (SlotId, WorkerId),
        reason: RollFailure,
    ) {
        let Some(roll) = &mut self.roll else { return };
        let generation = roll.generation;
        match std::mem::replace(&mut roll.direction, Direction::Back) {
            Direction::Back => {
                self.decisions.tell(Event::RollBackFailed { slot, worker, reason });
            }
            Direction::Forward => {
                let failed = Event::RollFailed { generation, slot, worker, reason };
                self.decisions.tell(failed);
                self.turn_back(now);
            }
        }
        self.roll_on(now);
    }

    fn turn_back(&mut self, now: Instant) {
        let Some(roll) = &mut self.roll else { return };
        let previous = roll.previous;
        roll.surplus.clear();
        let added = std::mem::take(&mut roll.added);
        let placed = std::mem::take(&mut roll.placed);
        for slot in &placed {
            if let Some(entry) = self.slots.get_mut(slot) {
                entry.generation = previous;
            }
        }
        // The last first: it had the least time to get connections.
        roll.waiting = placed.into_iter().rev().collect();
        let successors: Vec<_> = self.slots.values().filter_map(|slot| slot.successor).collect();
        for worker in successors {
            self.end_successor(now, worker);
        }
        for slot in added {
            self.retire_slot(now, slot);
        }
    }

    fn end_roll(&mut self, now: Instant) {
        self.retire_surplus(now);
        let Some(roll) = self.roll.take() else { return };
        let (generation, took) = (roll.target(), now.duration_since(roll.since));
        match (roll.direction, roll.reason) {
            (Direction::Back, _) => {
                let pending = self.pending_since(roll.since);
                self.decisions.tell(Event::RolledBack { generation, took, pending });
            }
            (Direction::Forward, reason) => {
                if reason == RollReason::Reload {
                    self.generation = generation;
                }
                self.decisions.tell(Event::RollFinished { generation, took });
            }
        }
        self.finish_if_idle();
    }

    /// While the roll is still under way: what is left then may be an app that is done.
    fn retire_surplus(&mut self, now: Instant) {
        let surplus = self.roll.as_mut().map(|roll| std::mem::take(&mut roll.surplus));
        for slot in surplus.into_iter().flatten() {
            self.retire_slot(now, slot);
        }
    }

    /// Seats that wait for a worker, or for one that was started since to be ready. Of one that
    /// was there before nothing is expected but that it stays.
    fn pending_since(&self, since: Instant) -> Vec<SlotId> {
        let staying = self.slots.iter().filter(|(_, slot)| !slot.is_retiring());
        let pending = staying.filter(|(_, slot)| match slot.seat {
            SeatState::Waiting => true,
            SeatState::Done(_) => false,
            SeatState::Taken(worker) => self.workers.get(&worker).is_none_or(|entry| {
                let was_there = entry.progress > Progress::Starting && entry.since < since;
                let is_there = was_there || self.has_come_up(worker);
                entry.leaving.is_some() || entry.is_cut_off() || !is_there
            }),
        });
        pending.map(|(id, _)| *id).collect()
    }

    /// The app stops: whoever is under way is ended with everybody else.
    pub(super) fn abort_roll(&mut self) {
        if let Some(roll) = self.roll.take() {
            let generation = roll.generation;
            self.decisions.tell(Event::RollAborted { generation });
        }
    }
}
