//! The seats and their workers, for another process to go on with.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::leaving::Leaving;
use super::readiness::Readiness;
use super::roll::{Direction, Roll};
use super::settings::Role;
use super::slot::{SeatState, Slot, Tenure};
use super::spares::SpareWarning;
use super::worker::{Channel, Place, Progress, Way, Worker};
use super::{Phase, Supervisor, Timer};
use crate::event::RollReason;
use crate::id::{Generation, SlotId, WorkerId};
use crate::input::{Action, Denied, ReadySignal};
use crate::restart::History;
use crate::snapshot::Moment;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SupervisorSnapshot {
    slots: BTreeMap<SlotId, SlotSnapshot>,
    workers: BTreeMap<WorkerId, WorkerSnapshot>,
    timers_ns: Vec<(Timer, Moment)>,
    next_worker: u32,
    generation: Generation,
    roll: Option<RollSnapshot>,
    #[serde(default)]
    spare_warning: SpareWarning,
    readiness: Readiness,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SlotSnapshot {
    role: Role,
    seat: SeatState,
    successor: Option<WorkerId>,
    generation: Generation,
    tenure: Tenure,
    readiness: Readiness,
    restarts: u32,
    streak: u32,
    restarts_ns: Vec<Moment>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct WorkerSnapshot {
    slot: SlotId,
    generation: Generation,
    place: Place,
    since_ns: Moment,
    progress: Progress,
    said_ready: Vec<ReadySignal>,
    readiness: Readiness,
    leaving: Option<Leaving>,
    channel: Channel,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct RollSnapshot {
    reason: RollReason,
    since_ns: Moment,
    direction: Direction,
    generation: Generation,
    previous: Generation,
    surge: usize,
    waiting: Vec<SlotId>,
    placed: Vec<SlotId>,
    added: Vec<SlotId>,
    surplus: Vec<SlotId>,
}

impl SupervisorSnapshot {
    pub(crate) fn rolling(&self) -> Option<RollReason> {
        self.roll.as_ref().map(|roll| roll.reason)
    }
}

impl Supervisor {
    pub(crate) fn snapshot(&self, now: Instant) -> Result<SupervisorSnapshot, Denied> {
        if self.phase != Phase::Running {
            return Err(Denied::Stopping);
        }
        let slots = self.slots.iter().map(|(id, slot)| (*id, SlotSnapshot::of(slot, now)));
        let workers =
            self.workers.iter().map(|(id, worker)| (*id, WorkerSnapshot::of(worker, now)));
        Ok(SupervisorSnapshot {
            slots: slots.collect(),
            workers: workers.collect(),
            timers_ns: self.timers.all().map(|(key, at)| (key, Moment::of(at, now))).collect(),
            next_worker: self.next_worker,
            generation: self.generation,
            roll: self.roll.as_ref().map(|roll| RollSnapshot::of(roll, now)),
            spare_warning: self.warning,
            readiness: self.readiness,
        })
    }

    /// Becomes what another one was. Whoever was being checked is checked again.
    pub(crate) fn resume(&mut self, snapshot: SupervisorSnapshot, now: Instant) {
        let SupervisorSnapshot { slots, workers, timers_ns, .. } = snapshot;
        self.slots = slots.into_iter().map(|(id, slot)| (id, slot.resume(now))).collect();
        self.workers = workers.into_iter().map(|(id, worker)| (id, worker.resume(now))).collect();
        for (key, at) in timers_ns {
            self.timers.set(key, at.at(now));
        }
        self.next_worker = snapshot.next_worker;
        self.generation = snapshot.generation;
        self.warning = snapshot.spare_warning;
        self.readiness = snapshot.readiness;
        self.roll = snapshot.roll.map(|roll| roll.resume(now));
        let workers = self.workers.keys().copied();
        let checked = workers.filter(|worker| self.is_on_its_way(*worker, Way::Checking));
        for worker in checked.collect::<Vec<_>>() {
            self.decisions.act(Action::Check { worker });
        }
    }
}

impl SlotSnapshot {
    fn of(slot: &Slot, now: Instant) -> Self {
        Self {
            role: slot.role,
            seat: slot.seat,
            successor: slot.successor,
            generation: slot.generation,
            tenure: slot.tenure,
            readiness: slot.readiness,
            restarts: slot.restarts,
            streak: slot.history.streak,
            restarts_ns: slot.history.recent.iter().map(|at| Moment::of(*at, now)).collect(),
        }
    }

    fn resume(self, now: Instant) -> Slot {
        let recent = self.restarts_ns.into_iter().map(|at| at.at(now)).collect();
        Slot {
            role: self.role,
            seat: self.seat,
            successor: self.successor,
            generation: self.generation,
            history: History { streak: self.streak, recent },
            restarts: self.restarts,
            tenure: self.tenure,
            readiness: self.readiness,
        }
    }
}

impl RollSnapshot {
    fn of(roll: &Roll, now: Instant) -> Self {
        Self {
            reason: roll.reason,
            since_ns: Moment::of(roll.since, now),
            direction: roll.direction,
            generation: roll.generation,
            previous: roll.previous,
            surge: roll.surge,
            waiting: roll.waiting.iter().copied().collect(),
            placed: roll.placed.clone(),
            added: roll.added.clone(),
            surplus: roll.surplus.clone(),
        }
    }

    fn resume(self, now: Instant) -> Roll {
        Roll {
            reason: self.reason,
            since: self.since_ns.at(now),
            direction: self.direction,
            generation: self.generation,
            previous: self.previous,
            surge: self.surge,
            waiting: self.waiting.into(),
            placed: self.placed,
            added: self.added,
            surplus: self.surplus,
        }
    }
}

impl WorkerSnapshot {
    fn of(worker: &Worker, now: Instant) -> Self {
        Self {
            slot: worker.slot,
            generation: worker.generation,
            place: worker.place,
            since_ns: Moment::of(worker.since, now),
            progress: worker.progress,
            said_ready: worker.said_ready.clone(),
            readiness: worker.readiness,
            leaving: worker.leaving,
            channel: worker.channel,
        }
    }

    fn resume(self, now: Instant) -> Worker {
        Worker {
            slot: self.slot,
            generation: self.generation,
            place: self.place,
            since: self.since_ns.at(now),
            progress: self.progress,
            said_ready: self.said_ready,
            readiness: self.readiness,
            leaving: self.leaving,
            channel: self.channel,
        }
    }
}
