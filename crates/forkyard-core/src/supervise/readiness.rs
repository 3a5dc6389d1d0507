//! Who is ready, and when the whole app is.
//!
//! ```text
//!   worker   Awaited ── fulfils the ready rule, and serves or is to serve ──▶ Reached
//!   slot     Awaited ── has a seated worker that is ready ──────────────────▶ Reached
//!   app      Awaited ── every slot that serves has had one ─────────────────▶ Reached
//! ```
//!
//! What is reached is told once and stays so: that a slot is empty after a crash does not make
//! the app one that has never been ready. A spare is ready when it stands by, which has an event
//! of its own; once it serves, it is like everybody else.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::settings::{ReadyRule, Role};
use super::slot::{SeatState, Slot};
use super::worker::{Progress, Way};
use super::{Phase, Supervisor};
use crate::event::Event;
use crate::id::WorkerId;

/// Whether something is, or has been, ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Readiness {
    Awaited,
    Reached,
}

impl Supervisor {
    /// Whether every slot that serves has had a ready worker at some time.
    pub(crate) fn has_been_ready(&self) -> bool {
        self.readiness == Readiness::Reached
    }

    /// Something was heard of a worker: it may be ready by that.
    pub(super) fn may_be_ready(&mut self, now: Instant, worker: WorkerId) {
        if !self.has_come_up(worker) {
            return;
        }
        self.tell_ready(worker);
        if self.is_on_its_way(worker, Way::Booting) {
            self.successor_came_up(now, worker);
        }
    }

    /// Whether a worker has come as far as its part asks for.
    pub(super) fn has_come_up(&self, worker: WorkerId) -> bool {
        let Some(entry) = self.workers.get(&worker) else { return false };
        match self.role_of(worker) {
            Role::Serving => entry.is_ready(self.settings.ready),
            Role::Spare => {
                entry.progress >= Progress::StandingBy || entry.is_ready(ReadyRule::Listening)
            }
        }
    }

    fn tell_ready(&mut self, worker: WorkerId) {
        let serves = self.role_of(worker) == Role::Serving;
        let Some(entry) = self.workers.get_mut(&worker).filter(|_| serves) else { return };
        let is_sound = entry.leaving.is_none() && !entry.is_cut_off();
        if is_sound && entry.readiness == Readiness::Awaited {
            entry.readiness = Readiness::Reached;
            let slot = entry.slot;
            self.decisions.tell(Event::Ready { slot, worker });
        }
    }

    /// Looks at the end of every step whether the app is ready by it.
    pub(crate) fn may_app_be_ready(&mut self) {
        if self.readiness == Readiness::Reached || self.phase != Phase::Running {
            return;
        }
        for slot in self.slots.values_mut() {
            let seated = slot.worker().and_then(|worker| self.workers.get(&worker));
            if seated.is_some_and(|worker| worker.readiness == Readiness::Reached) {
                slot.readiness = Readiness::Reached;
            }
        }
        let mut serving = self.slots.values().filter(|slot| slot.is_to_serve()).peekable();
        let is_any = serving.peek().is_some();
        if is_any && serving.all(|slot| slot.readiness == Readiness::Reached) {
            self.readiness = Readiness::Reached;
            self.decisions.tell(Event::AppReady);
        }
    }
}

impl Slot {
    /// Whether clients may expect it to have a worker. Nothing is expected of one that is done.
    fn is_to_serve(&self) -> bool {
        let is_done = matches!(self.seat, SeatState::Done(_));
        self.role == Role::Serving && !self.is_retiring() && !is_done
    }
}
