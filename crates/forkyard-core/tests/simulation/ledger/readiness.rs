//! Who is ready, and when the whole app is.

use forkyard_core::{Role, SlotId, WorkerId, WorkerState, WorkerView};

use super::{Ledger, Place, Seat, Slot, Violation, Worker};

impl Ledger {
    pub(super) fn sees_ready(&mut self, slot: SlotId, worker: WorkerId) -> Result<(), Violation> {
        ensure!(
            self.is_to_be_told_ready(worker),
            "{worker} is not ready, or was told to be before"
        );
        let entry = self.workers.get_mut(&worker).ok_or_else(|| format!("{worker} is unknown"))?;
        ensure!(entry.slot == slot, "{worker} has not got {slot}");
        entry.is_told_ready = true;
        self.sight("a worker ready");
        Ok(())
    }

    pub(super) fn sees_app_ready(&mut self) -> Result<(), Violation> {
        ensure!(!self.is_ready, "the app is ready once more");
        self.note_ready_slots();
        ensure!(self.may_be_ready(), "the app is told to be ready, and is not");
        self.is_ready = true;
        self.sight("an app ready");
        Ok(())
    }

    /// The step is over: everything that is ready has been told to be.
    pub(super) fn settle_readiness(&mut self) -> Result<(), Violation> {
        let untold = self.workers.keys().find(|worker| self.is_to_be_told_ready(**worker));
        ensure!(untold.is_none(), "{untold:?} is ready, and nobody is told");
        self.note_ready_slots();
        let is_untold = !self.is_ready && !self.is_stopped && self.may_be_ready();
        ensure!(!is_untold, "the app is ready, and nobody is told");
        Ok(())
    }

    /// What the core says of its workers, whenever it is asked, is what the account says.
    pub fn agrees(&self, view: impl Fn(WorkerId) -> Option<WorkerView>) -> Result<(), Violation> {
        for (id, entry) in &self.workers {
            let Some(WorkerView { state, restarts }) = view(*id) else {
                ensure!(entry.is_gone, "{id} is there, but nothing is to be seen of it");
                continue;
            };
            let serves = entry.place == Place::Seated && self.role_of(entry.slot) == Role::Serving;
            let is_sound = entry.is_up() && !entry.is_cut_off();
            let is_ready = serves && is_sound && entry.is_told_ready;
            ensure!((state == WorkerState::Ready) == is_ready, "{id} shows as {state:?}");
            let succeeds = state != WorkerState::Successor || entry.place == Place::Successor;
            ensure!(succeeds, "{id} shows as a successor");
            let is_kept = |slot: &&Slot| !self.is_gone(slot) && !self.is_stopped;
            let slot = self.slots.get(&entry.slot).filter(is_kept);
            let counted = slot.map_or(restarts, |slot| slot.restarts);
            ensure!(counted == restarts, "{id} shows {restarts} restarts, not {counted}");
        }
        Ok(())
    }

    fn is_to_be_told_ready(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|entry| {
            let serves = self.role_of(entry.slot) == Role::Serving;
            let is_sound = entry.is_up() && !entry.is_cut_off() && !entry.is_told_ready;
            serves && is_sound && entry.is_ready(&self.rules, Role::Serving)
        })
    }

    fn note_ready_slots(&mut self) {
        for slot in self.slots.values_mut() {
            let Seat::Taken(worker) = slot.seat else { continue };
            slot.has_been_ready |= self.workers[&worker].is_told_ready;
        }
    }

    /// Whether every slot has had a ready worker, those included that a roll is about to add.
    fn may_be_ready(&self) -> bool {
        let is_added = |slot: &SlotId| self.slots.contains_key(slot);
        let is_complete = self.roll.as_ref().is_none_or(|roll| roll.added().iter().all(is_added));
        let mut serving = self
            .slots
            .values()
            .filter(|slot| slot.role == Role::Serving && !slot.is_retiring)
            .filter(|slot| slot.seat != Seat::Done)
            .peekable();
        is_complete && serving.peek().is_some() && serving.all(|slot| slot.has_been_ready)
    }
}

impl Worker {
    pub(super) fn is_cut_off(&self) -> bool {
        self.channel_ended && self.is_online
    }
}
