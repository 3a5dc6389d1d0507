//! Keeps every slot's seat taken.
//!
//! ```text
//!               fill           Spawned          Exited, or SpawnFailed
//!   Waiting ─────────▶ Taken ───────────▶ Taken ─────────────────┬───────────▶ gone
//!      ▲             (Starting)          (Up …)                  │ retiring,
//!      │                                                         │ or a stop
//!      │ delay                                                   ▼
//!      └──────────────────────────────────────────────── History::decide
//!                                                          │          │
//!                                            done code, or │          │ GiveUp
//!                                              no restarts ▼          ▼
//!                                                        Done     app failed, stop all
//! ```
//!
//! | file | is about |
//! |---|---|
//! | [`seats`] | the diagram above: seats that become empty and are taken again |
//! | [`decisions`] | in which order what is decided is carried out |
//! | [`worker`] | how far a process has come |
//! | [`readiness`] | who is ready, and when the whole app is |
//! | [`leaving`] | how a process is ended, step by step |
//! | [`succession`] | how a successor comes to a seat that is taken |
//! | [`roll`] | all seats, one after the other |
//! | [`scale`] | another number of seats |
//! | [`spares`] | seats whose workers wait to take over another's part |
//! | [`view`] | how a worker stands, for whoever asks |
//! | [`snapshot`] | all of this, for another process to go on with |
//!
//! A stop outranks every restart rule: once it has begun no seat is taken again.

mod decisions;
mod leaving;
mod readiness;
mod roll;
mod scale;
mod seats;
mod settings;
mod slot;
pub(crate) mod snapshot;
mod spares;
mod succession;
mod view;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::event::{Event, LeaveReason, Outcome};
use crate::id::{Generation, SlotId, WorkerId};
use crate::input::{Admission, Denied, Stage};
use crate::jitter::Jitter;
use crate::timers::Timers;
use decisions::Decisions;
pub(crate) use decisions::{Decision, Notice, Refill};
use readiness::Readiness;
use roll::Roll;
pub use scale::Scaled;
pub use settings::{
    CheckRule, ExitStatus, IdleRule, ReadyRule, Role, RollPlan, SuperviseSettings, Surge,
};
use slot::{SeatState, Slot, Tenure};
use spares::SpareWarning;
pub use view::{WorkerState, WorkerView};
use worker::{Place, Worker};

/// The most slots one primary may have.
pub const MAX_SLOTS: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Timer {
    /// A seat's delay is over.
    Restart(SlotId),
    /// A worker should listen by now, or a successor be ready.
    Start(WorkerId),
    /// A successor has stayed up for the settle time.
    Settle(WorkerId),
    /// A worker has stayed up for the stable time.
    Stable(WorkerId),
    /// A leaving worker's step has taken too long.
    Step(WorkerId),
    /// A worker without a channel should have ended by now.
    Silent(WorkerId),
}

impl Timer {
    const OF_WORKER: [fn(WorkerId) -> Self; 5] =
        [Self::Start, Self::Settle, Self::Stable, Self::Step, Self::Silent];
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Stopping(Stage, Outcome),
    Over,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Supervisor {
    settings: SuperviseSettings,
    jitter: Jitter,
    slots: BTreeMap<SlotId, Slot>,
    workers: BTreeMap<WorkerId, Worker>,
    timers: Timers<Timer>,
    next_worker: u32,
    /// What new slots are started from.
    generation: Generation,
    roll: Option<Roll>,
    warning: SpareWarning,
    /// Whether the app has ever been ready.
    readiness: Readiness,
    phase: Phase,
    decisions: Decisions,
}

impl Supervisor {
    pub(crate) fn new(settings: SuperviseSettings, seed: u64) -> Self {
        Self {
            settings,
            jitter: Jitter::from_seed(seed),
            slots: BTreeMap::new(),
            workers: BTreeMap::new(),
            timers: Timers::new(),
            next_worker: 1,
            generation: Generation(0),
            roll: None,
            warning: SpareWarning::Due,
            readiness: Readiness::Awaited,
            phase: Phase::Running,
            decisions: Decisions::default(),
        }
    }

    pub(crate) fn next_decision(&mut self) -> Option<Decision> {
        self.decisions.next()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Restart(slot) => self.fill(now, slot),
                Timer::Start(worker) => self.start_timed_out(now, worker),
                Timer::Settle(worker) => self.settled(now, worker),
                Timer::Stable(worker) => self.stable(now, worker),
                Timer::Step(worker) => self.step_timed_out(now, worker),
                Timer::Silent(worker) => self.silent_for_long(now, worker),
            }
        }
    }

    /// The worker that has this seat.
    pub(crate) fn seated(&self, slot: SlotId) -> Option<WorkerId> {
        self.slots.get(&slot)?.worker()
    }

    /// Whether anything is, or may yet be, started from this generation.
    pub(crate) fn needs(&self, generation: Generation) -> bool {
        let rolling = self.roll.as_ref().is_some_and(|roll| roll.needs(generation));
        let is_next = self.slots.values().any(|slot| slot.generation == generation);
        rolling || is_next || self.generation == generation
    }

    pub(crate) fn fork(&mut self, now: Instant, role: Role) -> Admission {
        if let Some(denied) = self.busy() {
            return Admission::Denied(denied);
        }
        if self.free_slots() == 0 {
            return Admission::Denied(Denied::TooManySlots);
        }
        let slot = self.add_slot(role);
        self.fill(now, slot);
        Admission::Forked(slot)
    }

    /// How many slots there may yet be.
    pub(crate) fn free_slots(&self) -> usize {
        MAX_SLOTS.saturating_sub(self.slots.len())
    }

    /// With the lowest number that is free, so that numbers stay below the greatest number of
    /// slots there has been. A slot that is gone while a process of it is still about is not free:
    /// two processes of different slots never have the same number.
    fn add_slot(&mut self, role: Role) -> SlotId {
        let taken: BTreeSet<_> = self.workers.values().map(|worker| worker.slot).collect();
        let is_free = |slot: &SlotId| !self.slots.contains_key(slot) && !taken.contains(slot);
        let mut free = (0..).map(SlotId).filter(is_free);
        let slot = free.next().expect("invariant: there are fewer slots than numbers");
        self.slots.insert(slot, Slot::new(role, self.generation));
        slot
    }

    pub(crate) fn retire(&mut self, now: Instant, slot: SlotId) -> Admission {
        if let Some(denied) = self.busy() {
            return Admission::Denied(denied);
        }
        match self.slots.get(&slot) {
            None => Admission::Denied(Denied::NoSuchSlot),
            Some(entry) if entry.is_retiring() => Admission::AlreadySo,
            Some(_) => {
                self.retire_slot(now, slot);
                Admission::Accepted
            }
        }
    }

    fn retire_slot(&mut self, now: Instant, slot: SlotId) {
        let Some(entry) = self.slots.get_mut(&slot) else { return };
        entry.tenure = Tenure::Retiring;
        match entry.seat {
            SeatState::Taken(worker) => {
                self.leave(now, worker, LeaveReason::Retired, Stage::Disconnect);
            }
            SeatState::Waiting | SeatState::Done(_) => self.remove_slot(slot),
        }
    }

    /// Why the slots cannot be changed now.
    fn busy(&self) -> Option<Denied> {
        match (&self.phase, &self.roll) {
            (Phase::Stopping(..) | Phase::Over, _) => Some(Denied::Stopping),
            (Phase::Running, Some(_)) => Some(Denied::Rolling),
            (Phase::Running, None) => None,
        }
    }

    pub(crate) fn stop(&mut self, now: Instant, stage: Stage) -> Admission {
        match &self.phase {
            Phase::Over => Admission::AlreadySo,
            Phase::Stopping(current, _) if *current >= stage => Admission::AlreadySo,
            Phase::Stopping(_, outcome) => {
                let outcome = outcome.clone();
                self.stop_all(now, stage, outcome);
                Admission::Accepted
            }
            Phase::Running => {
                self.stop_all(now, stage, Outcome::Stopped);
                Admission::Accepted
            }
        }
    }

    fn stop_all(&mut self, now: Instant, stage: Stage, outcome: Outcome) {
        self.phase = Phase::Stopping(stage, outcome);
        self.abort_roll();
        self.slots.retain(|slot, entry| {
            self.timers.cancel(Timer::Restart(*slot));
            entry.worker().is_some()
        });
        let workers: Vec<_> = self.workers.keys().copied().collect();
        self.decisions.tell(Event::Stopping { stage, workers: workers.len() });
        self.decisions.notify(Notice::StopAll);
        for worker in workers {
            self.leave(now, worker, LeaveReason::Stop, stage);
        }
        self.finish_if_empty();
    }

    fn finish_if_empty(&mut self) {
        if !self.workers.is_empty() {
            return;
        }
        if let Phase::Stopping(_, outcome) = std::mem::replace(&mut self.phase, Phase::Over) {
            self.decisions.notify(Notice::Finished(outcome));
        }
    }

    fn finish_if_idle(&mut self) {
        if self.settings.when_idle == IdleRule::Finish
            && self.roll.is_none()
            && let Some(code) = self.all_done()
        {
            self.decisions.notify(Notice::StopAll);
            self.phase = Phase::Over;
            self.decisions.notify(Notice::Finished(Outcome::Finished { code }));
        }
    }

    /// The highest exit code, when every slot is done and nobody is finishing anything.
    fn all_done(&self) -> Option<i32> {
        if !self.workers.is_empty() {
            return None;
        }
        let codes = self.slots.values().map(|slot| match slot.seat {
            SeatState::Done(code) => Some(code),
            SeatState::Waiting | SeatState::Taken(_) => None,
        });
        codes.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    fn refill(&self, worker: WorkerId) -> Refill {
        let Some(entry) = self.workers.get(&worker) else { return Refill::No };
        let stays = self.slots.get(&entry.slot).is_some_and(|slot| !slot.is_retiring());
        let is_wanted = entry.place == Place::Seated && stays && self.phase == Phase::Running;
        if is_wanted { Refill::Yes } else { Refill::No }
    }
}
