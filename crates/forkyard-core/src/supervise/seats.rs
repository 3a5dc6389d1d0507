//! Seats that become empty, and are taken again or not; see the diagram in [`super`].

use std::time::{Duration, Instant};

use super::settings::{ExitStatus, IdleRule, Role};
use super::slot::{End, SeatState, Slot};
use super::worker::{Place, Progress, Worker};
use super::{Notice, Phase, Supervisor, Timer};
use crate::dispatch::Standing;
use crate::event::{Event, FailReason, LeaveReason, Outcome, RollFailure};
use crate::id::{Generation, SlotId, WorkerId};
use crate::input::{Action, ReadySignal, Stage};
use crate::restart::{Decision, RestartMode, RestartSettings};

/// How many stable times a worker may be up without listening and still be expected to: its
/// slot keeps the addresses of its predecessor open meanwhile, and nobody serves them.
const UNLISTENING: u32 = 5;

impl Supervisor {
    pub(crate) fn spawned(&mut self, now: Instant, worker: WorkerId, pid: u32) {
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        entry.progress = entry.progress.max(Progress::Up);
        entry.since = now;
        let slot = entry.slot;
        self.decisions.tell(Event::Started { slot, worker, pid });
        if let Some(leaving) = entry.leaving {
            self.take_step(now, worker, leaving.stage);
            return;
        }
        let place = entry.place;
        self.timers.set_after(Timer::Stable(worker), now, self.settings.restart.reset_after);
        if let Place::Successor(_) = place {
            self.successor_runs(now, worker);
        } else if let Some(limit) = self.settings.start_timeout {
            self.timers.set_after(Timer::Start(worker), now, limit);
        }
        self.may_be_ready(now, worker);
    }

    pub(crate) fn spawn_failed(&mut self, now: Instant, worker: WorkerId, message: String) {
        let Some(entry) = self.workers.get(&worker) else { return };
        let slot = entry.slot;
        let why = RollFailure::NotStarted { message: message.clone() };
        self.decisions.notify(Notice::NeverWas { worker });
        self.decisions.tell(Event::StartFailed { slot, worker, message });
        self.worker_ended(now, worker, (End::NeverRan, why));
    }

    pub(crate) fn online(&mut self, worker: WorkerId) {
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        if entry.progress < Progress::Online {
            entry.progress = Progress::Online;
            let slot = entry.slot;
            self.decisions.tell(Event::Online { slot, worker });
        }
    }

    pub(crate) fn listening(&mut self, now: Instant, worker: WorkerId) {
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        entry.progress = Progress::Listening;
        if entry.place == Place::Seated {
            self.timers.cancel(Timer::Start(worker));
        }
        self.may_be_ready(now, worker);
    }

    pub(crate) fn says_ready(&mut self, now: Instant, worker: WorkerId, by: ReadySignal) {
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        if !entry.said_ready.contains(&by) {
            entry.said_ready.push(by);
        }
        self.may_be_ready(now, worker);
    }

    pub(crate) fn exited(&mut self, now: Instant, worker: WorkerId, status: ExitStatus) {
        let Some(entry) = self.workers.get(&worker) else { return };
        let (slot, leaving) = (entry.slot, entry.leaving.map(|leaving| leaving.reason));
        if leaving.is_none() {
            let refill = self.refill(worker);
            self.decisions.notify(Notice::Leaving { worker, refill });
        }
        self.decisions.tell(Event::Exited { slot, worker, status, leaving });
        let why = match leaving {
            Some(LeaveReason::OwnWish | LeaveReason::Unusable) => RollFailure::Left,
            _ => RollFailure::Ended { status },
        };
        self.worker_ended(now, worker, (End::Exited(status), why));
    }

    fn worker_ended(&mut self, now: Instant, worker: WorkerId, (end, why): (End, RollFailure)) {
        let Some(entry) = self.workers.remove(&worker) else { return };
        for timer in Timer::OF_WORKER {
            self.timers.cancel(timer(worker));
        }
        if self.phase != Phase::Running {
            self.slots.remove(&entry.slot);
            return self.finish_if_empty();
        }
        match entry.place {
            Place::Seated => {
                self.may_fail_roll(now, worker, &entry, why);
                self.seat_emptied(now, worker, &entry, end);
            }
            Place::Successor(way) => {
                self.successor_ended(now, (entry.slot, worker), way, why);
            }
            Place::Former => self.finish_if_idle(),
        }
    }

    /// A seat is empty: fill it again, or not.
    fn seat_emptied(&mut self, now: Instant, worker: WorkerId, entry: &Worker, end: End) {
        let Some(slot) = self.slots.get(&entry.slot) else { return };
        if slot.is_retiring() {
            return self.remove_slot(entry.slot);
        }
        match self.done_code(end) {
            Some(code) => self.slot_done(entry.slot, code),
            None => {
                self.promote_for(now, entry.slot);
                self.restart(now, worker, entry);
            }
        }
    }

    fn done_code(&self, end: End) -> Option<i32> {
        let restart = &self.settings.restart;
        let said_so = matches!(
            end, End::Exited(ExitStatus::Code(code)) if restart.done_codes.contains(&code)
        );
        (said_so || restart.mode == RestartMode::Never).then(|| end.code())
    }

    fn slot_done(&mut self, slot: SlotId, code: i32) {
        self.decisions.tell(Event::SlotDone { slot });
        self.decisions.notify(Notice::SlotGone { slot });
        if let Some(entry) = self.slots.get_mut(&slot) {
            entry.seat = SeatState::Done(code);
        }
        self.may_go(slot);
        self.finish_if_idle();
    }

    /// A slot that is done, and to which nobody succeeds, is of no use to whoever forks anew.
    pub(super) fn may_go(&mut self, slot: SlotId) {
        let is_done =
            |entry: &Slot| matches!(entry.seat, SeatState::Done(_)) && entry.successor.is_none();
        if self.settings.when_idle == IdleRule::Wait && self.slots.get(&slot).is_some_and(is_done) {
            self.slots.remove(&slot);
        }
    }

    fn restart(&mut self, now: Instant, worker: WorkerId, entry: &Worker) {
        let (slot, restart) = (entry.slot, &self.settings.restart);
        let life = entry.judge(now, restart);
        let Some(seat) = self.slots.get_mut(&slot) else { return };
        seat.seat = SeatState::Waiting;
        seat.restarts = seat.restarts.saturating_add(life.is_crash().into());
        // A roll may be bringing the remedy, and nobody needs a spare to serve.
        let bears_with_it = self.roll.is_some() || seat.role == Role::Spare;
        match seat.history.decide(now, life, restart, &mut self.jitter) {
            Decision::RestartAfter { delay, restarts } => {
                self.restart_after(now, slot, (delay, restarts));
            }
            Decision::GiveUp if bears_with_it => {
                let wait = (restart.max_delay, restart.limit);
                self.restart_after(now, slot, wait);
            }
            Decision::GiveUp => self.give_up(now, slot, worker),
        }
    }

    fn restart_after(&mut self, now: Instant, slot: SlotId, (delay, restarts): (Duration, u32)) {
        self.decisions.tell(Event::RestartScheduled { slot, delay, restarts });
        if delay.is_zero() {
            self.fill(now, slot);
        } else {
            self.timers.set_after(Timer::Restart(slot), now, delay);
        }
    }

    fn give_up(&mut self, now: Instant, slot: SlotId, worker: WorkerId) {
        let RestartSettings { limit, window, .. } = self.settings.restart;
        let reason = FailReason::RestartLimit { slot, worker, limit, window };
        self.decisions.tell(Event::Failed(reason.clone()));
        self.stop_all(now, Stage::Disconnect, Outcome::Failed(reason));
    }

    pub(super) fn fill(&mut self, now: Instant, slot: SlotId) {
        let Some(entry) = self.slots.get(&slot) else { return };
        let standing = match entry.role {
            Role::Serving => Standing::Serving,
            Role::Spare => Standing::Spare,
        };
        let worker = self.start(now, slot, entry.generation, (Place::Seated, standing));
        if let Some(entry) = self.slots.get_mut(&slot) {
            entry.seat = SeatState::Taken(worker);
        }
    }

    pub(super) fn start(
        &mut self,
        now: Instant,
        slot: SlotId,
        generation: Generation,
        (place, standing): (Place, Standing),
    ) -> WorkerId {
        let worker = WorkerId(self.next_worker);
        self.next_worker += 1;
        self.workers.insert(worker, Worker::new(slot, generation, place, now));
        self.decisions.act(Action::Spawn { slot, worker, generation });
        self.decisions.notify(Notice::Started { worker, slot, standing });
        worker
    }

    pub(super) fn remove_slot(&mut self, slot: SlotId) {
        self.timers.cancel(Timer::Restart(slot));
        self.slots.remove(&slot);
        self.decisions.notify(Notice::SlotGone { slot });
        self.finish_if_idle();
    }

    /// A worker that has not listened yet may still want the addresses its slot holds; so
    /// may one that has not got its seat yet.
    pub(super) fn stable(&mut self, now: Instant, worker: WorkerId) {
        self.may_not_ask(now, worker);
        let Some(entry) = self.workers.get(&worker) else { return };
        let pause = self.stable_pause();
        let waited_for = now.duration_since(entry.since) >= pause.saturating_mul(UNLISTENING);
        let is_done = entry.progress >= Progress::StandingBy || waited_for;
        if entry.place == Place::Seated && is_done {
            self.decisions.notify(Notice::Settled { slot: entry.slot });
        } else {
            self.timers.set_after(Timer::Stable(worker), now, pause);
        }
    }

    /// Never zero, or a worker that does not listen would be looked after without end.
    fn stable_pause(&self) -> Duration {
        self.settings.restart.reset_after.max(Duration::from_secs(1))
    }

    pub(super) fn start_timed_out(&mut self, now: Instant, worker: WorkerId) {
        let Some(entry) = self.workers.get(&worker) else { return };
        if entry.leaving.is_some() {
            return;
        }
        if let Place::Successor(_) = entry.place {
            return self.successor_timed_out(now, worker);
        }
        let slot = entry.slot;
        let after = self.settings.start_timeout.unwrap_or_default();
        self.leave(now, worker, LeaveReason::StartTimeout, Stage::Terminate);
        self.decisions.tell(Event::StartTimedOut { slot, worker, after });
    }
}
