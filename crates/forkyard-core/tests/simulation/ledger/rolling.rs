//! What a roll may do, held against the account.

use std::time::{Duration, Instant};

use forkyard_core::{
    CheckRule, Event, Generation, IdleRule, Role, RollPlan, RollStep, SlotId, Stage, Surge,
    WorkerId,
};

use super::{Keeper, Ledger, Place, Seat, Slot, Violation};

/// A roll under way.
pub(super) struct Roll {
    pub(super) target: Generation,
    previous: Generation,
    since: Instant,
    surge: usize,
    surplus: Vec<SlotId>,
    /// The numbers of the slots that it may add.
    added: Vec<SlotId>,
}

impl Roll {
    /// The roll may add this slot.
    pub(super) fn adds(&self, slot: SlotId) -> bool {
        self.added.contains(&slot)
    }

    pub(super) fn added(&self) -> &[SlotId] {
        &self.added
    }
}

impl Slot {
    pub(super) fn new(role: Role) -> Self {
        Self {
            seat: Seat::New,
            role,
            is_retiring: false,
            is_added: false,
            is_stuck: false,
            has_been_ready: false,
            restarts: 0,
        }
    }
}

impl Ledger {
    pub(super) fn role_of(&self, slot: SlotId) -> Role {
        self.slots.get(&slot).map_or(Role::Serving, |slot| slot.role)
    }

    /// When others fork anew, what is done is gone.
    pub(super) fn is_gone(&self, slot: &Slot) -> bool {
        slot.seat == Seat::Done && self.rules.when_idle == IdleRule::Wait
    }

    /// The numbers that new slots get: neither a slot nor a process has them.
    pub(super) fn free_numbers(&self) -> impl Iterator<Item = SlotId> {
        (0..).map(SlotId).filter(|number| {
            let is_slot = self.slots.get(number).is_some_and(|slot| !self.is_gone(slot));
            let mut processes = self.workers.values().filter(|worker| !worker.is_gone);
            !is_slot && processes.all(|worker| worker.slot != *number)
        })
    }

    pub(super) fn begins_roll(&mut self, plan: RollPlan) {
        let staying =
            self.slots.iter().filter(|(_, slot)| !slot.is_retiring && !self.is_gone(slot));
        let serving: Vec<_> =
            staying.filter(|(_, slot)| slot.role == Role::Serving).map(|(id, _)| *id).collect();
        let workers = plan.workers.unwrap_or(serving.len()).max(1);
        let surge = match plan.surge {
            Surge::Workers(count) => count,
            Surge::Percent(percent) => (workers * percent).div_ceil(100),
        };
        let missing = workers.saturating_sub(serving.len());
        self.roll = Some(Roll {
            target: plan.generation,
            previous: self.generation,
            since: self.now,
            surge: surge.max(1),
            added: self.free_numbers().take(missing).collect(),
            surplus: serving.into_iter().skip(workers).collect(),
        });
    }

    pub(super) fn begins_replacing(&mut self, slot: SlotId) {
        // One that could not be given back is replaced by what its slot was to have.
        let target = self.generation;
        let _ = slot;
        let (surplus, added) = (Vec::new(), Vec::new());
        self.roll =
            Some(Roll { target, previous: target, since: self.now, surge: 1, surplus, added });
    }

    /// Since when somebody who is to have a seat could settle.
    pub(super) fn notes_who_is_fit(&mut self) {
        let (rules, now) = (self.rules, self.now);
        for worker in self.workers.values_mut().filter(|worker| worker.place == Place::Successor) {
            let role = self.slots.get(&worker.slot).map_or(Role::Serving, |slot| slot.role);
            let is_sound =
                rules.check == CheckRule::Skip || role == Role::Spare || worker.is_healthy;
            if worker.fit_since.is_none() && worker.is_ready(&rules, role) && is_sound {
                worker.fit_since = Some(now);
            }
        }
    }

    pub(super) fn is_successor(&mut self, worker: WorkerId) -> Result<(), Violation> {
        let roll = self.roll.as_ref().ok_or_else(|| format!("{worker} succeeds without a roll"))?;
        let surge = roll.surge;
        let entry = self.workers.get_mut(&worker).ok_or_else(|| format!("{worker} is unknown"))?;
        let generation = entry.generation;
        let is_known = generation == roll.target || generation == roll.previous;
        ensure!(is_known, "{worker} succeeds from generation {generation}");
        entry.place = Place::Successor;
        let successors = self.workers.values();
        let successors =
            successors.filter(|worker| worker.place == Place::Successor && !worker.is_gone);
        ensure!(successors.count() <= surge, "{worker} is one more than a surge of {surge}");
        Ok(())
    }

    pub(super) fn sees_roll(&mut self, event: &Event) -> Result<(), Violation> {
        match event {
            Event::RollStep { slot, worker, step: RollStep::Seated } => {
                self.sees_seated(*slot, *worker)?;
            }
            Event::RollStep { .. } => {}
            Event::RollFinished { generation, .. } => self.sees_finished(*generation)?,
            Event::RollFailed { .. } => self.sees_turned_back(),
            Event::RollBackFailed { slot, .. } => {
                if let Some(entry) = self.slots.get_mut(slot) {
                    entry.is_stuck = true;
                }
                self.sight("a seat that could not be given back");
            }
            Event::RolledBack { generation, pending, .. } => {
                self.sees_rolled_back(*generation, pending)?;
            }
            Event::RollAborted { .. } => {
                self.roll = None;
                self.sight("a roll aborted");
            }
            Event::Promoted { slot, worker } => self.sees_promoted(*slot, *worker)?,
            _ => {}
        }
        Ok(())
    }

    /// Nobody gives his seat to one that is not ready, healthy and settled.
    fn sees_seated(&mut self, slot: SlotId, worker: WorkerId) -> Result<(), Violation> {
        let (settle, now) = (self.rules.settle, self.now);
        let entry = self.workers.get_mut(&worker).ok_or_else(|| format!("{worker} is unknown"))?;
        ensure!(entry.is_up(), "{worker} got a seat, but is not up");
        ensure!(!entry.is_cut_off(), "{worker} got a seat, but its channel has ended");
        let settled_for = entry.fit_since.map(|since| now - since);
        let has_settled = settled_for.is_some_and(|time: Duration| time >= settle);
        ensure!(has_settled, "{worker} got a seat, but has settled for {settled_for:?}");
        entry.place = Place::Seated;
        let seat = self.slots.get_mut(&slot).ok_or_else(|| format!("{slot} is unknown"))?;
        if let Seat::Taken(predecessor) = std::mem::replace(&mut seat.seat, Seat::Taken(worker)) {
            if let Some(entry) = self.workers.get_mut(&predecessor) {
                entry.place = Place::Former;
            }
            self.lets_go(predecessor, Some(slot));
            self.sight("a worker replaced");
        }
        Ok(())
    }

    /// A roll takes its surplus away before it tells that it has finished. Nobody else who has a
    /// seat is asked to leave for no reason.
    pub(super) fn may_be_surplus(&mut self, worker: WorkerId, stage: Stage) {
        let Some(entry) = self.workers.get(&worker) else { return };
        let slot = entry.slot;
        let is_asked = entry.place == Place::Seated && stage == Stage::Disconnect;
        let is_surplus = self.roll.as_ref().is_some_and(|roll| roll.surplus.contains(&slot));
        if is_asked && is_surplus && !self.is_stopped {
            self.hears_retired(slot);
        }
    }

    fn sees_finished(&mut self, generation: Generation) -> Result<(), Violation> {
        let roll = self.roll.take().ok_or("a roll finished that never began")?;
        ensure!(generation == roll.target, "rolled to {generation}");
        self.generation = generation;
        self.slots.values_mut().for_each(|slot| slot.is_added = false);
        for slot in roll.surplus {
            if let Some(Seat::Taken(worker)) = self.slots.get(&slot).map(|slot| slot.seat) {
                self.is_not_dealt_to(worker)?;
            }
            self.hears_retired(slot);
        }
        self.sight("a roll finished");
        Ok(())
    }

    /// Every seat that is not named has somebody who was there before or is ready by now.
    fn sees_rolled_back(
        &mut self,
        generation: Generation,
        pending: &[SlotId],
    ) -> Result<(), Violation> {
        ensure!(generation == self.generation, "rolled back to {generation}");
        let roll = self.roll.take().ok_or("a roll was undone that never began")?;
        for (id, slot) in &self.slots {
            let is_filled = slot.is_retiring
                || match slot.seat {
                    Seat::Done => true,
                    Seat::New | Seat::Empty => false,
                    Seat::Taken(worker) => self.serves_since(worker, roll.since),
                };
            ensure!(
                is_filled || pending.contains(id),
                "rolled back, but {id} is {:?} and nobody is told",
                slot.seat
            );
        }
        let is_there = |id: &SlotId| self.slots.get(id).is_some_and(|slot| slot.seat != Seat::Done);
        let ghost = pending.iter().find(|id| !is_there(id));
        ensure!(ghost.is_none(), "rolled back but for {ghost:?}, which is not there");
        self.sight("a roll rolled back");
        if !pending.is_empty() {
            self.sight("a roll rolled back before all was as it had been");
        }
        Ok(())
    }

    fn serves_since(&self, worker: WorkerId, begin: Instant) -> bool {
        self.workers.get(&worker).is_some_and(|entry| {
            let role = self.role_of(entry.slot);
            let was_there = entry.runs_since.is_some_and(|since| since < begin);
            entry.is_up() && !entry.is_cut_off() && (was_there || entry.is_ready(&self.rules, role))
        })
    }

    /// What the roll has added goes away; nobody has to settle any more.
    fn sees_turned_back(&mut self) {
        let added: Vec<_> =
            self.slots.iter().filter(|(_, slot)| slot.is_added).map(|(id, _)| *id).collect();
        if let Some(roll) = &mut self.roll {
            roll.added.clear();
        }
        for slot in added {
            self.hears_retired(slot);
        }
        self.sight("a roll failed");
    }

    fn sees_promoted(&mut self, slot: SlotId, worker: WorkerId) -> Result<(), Violation> {
        let entry = self.workers.get(&worker).ok_or_else(|| format!("{worker} is unknown"))?;
        ensure!(
            entry.is_up() && entry.has_come_to_listen(),
            "{worker} is no spare that could help"
        );
        self.asked.extend(entry.wishes.iter().cloned());
        ensure!(self.role_of(slot) == Role::Spare, "{slot} is no seat of a spare");
        let emptied = self.just_emptied.ok_or("a spare was promoted for nobody")?;
        for (slot, role) in [(slot, Role::Serving), (emptied, Role::Spare)] {
            if let Some(entry) = self.slots.get_mut(&slot) {
                entry.role = role;
            }
        }
        self.keepers.retain(|(_, keeper)| *keeper != Keeper::Slot(emptied));
        self.sight("a spare promoted");
        Ok(())
    }
}
