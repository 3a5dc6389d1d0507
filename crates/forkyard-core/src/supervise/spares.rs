//! Seats whose workers wait to take over another's part.
//!
//! A spare is booted up to its first question for an address, which stays unanswered. When a
//! worker that serves has ended, the two seats change their roles: the spare's question is
//! answered, and the seat that has become empty is filled again, with a spare. Nobody changes
//! seats, so a process keeps the slot that it was started with.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::settings::Role;
use super::slot::Slot;
use super::worker::{Channel, Progress};
use super::{Notice, Supervisor, Timer};
use crate::event::Event;
use crate::id::{SlotId, WorkerId};

/// Whether it has been said that spares do not ask for an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SpareWarning {
    #[default]
    Due,
    Given,
}

impl Supervisor {
    /// A spare that has been up for long should have asked by now. What listens without asking
    /// cannot be held back: it is told once, because it is the program's way.
    pub(super) fn may_not_ask(&mut self, now: Instant, worker: WorkerId) {
        let Some(entry) = self.workers.get(&worker) else { return };
        let asks = entry.progress >= Progress::StandingBy || self.role_of(worker) == Role::Serving;
        if asks || entry.leaving.is_some() || self.warning == SpareWarning::Given {
            return;
        }
        self.warning = SpareWarning::Given;
        let (slot, after) = (entry.slot, now.duration_since(entry.since));
        self.decisions.tell(Event::SpareDoesNotAsk { slot, worker, after });
    }

    /// A worker has asked for an address. Of a spare that is all that is expected.
    pub(crate) fn asked(&mut self, now: Instant, worker: WorkerId) {
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        let is_spare = self.slots.get(&entry.slot).is_some_and(|slot| slot.role == Role::Spare);
        if is_spare && entry.progress < Progress::StandingBy {
            entry.progress = Progress::StandingBy;
            let slot = entry.slot;
            self.decisions.tell(Event::StandsBy { slot, worker });
            self.may_be_ready(now, worker);
            self.timers.cancel(Timer::Start(worker));
        }
    }

    /// The worker in this slot has ended: lets a spare take its part, if one is ready. During
    /// a roll everybody keeps his part, so that the roll knows whom it has to replace by what.
    pub(super) fn promote_for(&mut self, now: Instant, slot: SlotId) {
        let serves = self.slots.get(&slot).is_some_and(|entry| entry.role == Role::Serving);
        if !serves || self.roll.is_some() {
            return;
        }
        let ready = self.slots.iter().find_map(|(id, entry)| Some((*id, self.ready_spare(entry)?)));
        let Some((spare, worker)) = ready else { return };
        self.set_role(spare, Role::Serving);
        self.set_role(slot, Role::Spare);
        self.decisions.tell(Event::Promoted { slot: spare, worker });
        self.decisions.notify(Notice::Serves { worker });
        // What the slot's worker listened on is the spare's now.
        self.decisions.notify(Notice::SlotGone { slot });
        self.may_be_ready(now, worker);
    }

    fn ready_spare(&self, slot: &Slot) -> Option<WorkerId> {
        let worker = slot.worker().filter(|_| slot.role == Role::Spare && !slot.is_retiring())?;
        let entry = self.workers.get(&worker)?;
        let is_ready = entry.progress >= Progress::StandingBy
            && entry.leaving.is_none()
            && entry.channel == Channel::Open;
        is_ready.then_some(worker)
    }

    fn set_role(&mut self, slot: SlotId, role: Role) {
        if let Some(entry) = self.slots.get_mut(&slot) {
            entry.role = role;
        }
    }
}
