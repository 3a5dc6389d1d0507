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
//! How far a process has come is in [`worker`], how it is ended in [`leaving`]. A stop
//! outranks every restart rule: once it has begun no seat is taken again.

mod leaving;
mod settings;
mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::event::{Event, FailReason, LeaveReason, Outcome};
use crate::id::{SlotId, WorkerId};
use crate::input::{Action, Admission, Denied, Stage};
use crate::jitter::Jitter;
use crate::restart::{Decision, History, RestartMode, RestartSettings};
use crate::timers::Timers;
pub use settings::{ExitStatus, IdleRule, SuperviseSettings};
use worker::{Progress, Worker};

/// The most slots one primary may have.
pub const MAX_SLOTS: usize = 1024;

/// How many stable times a worker may be up without listening and still be expected to: its
/// slot keeps the addresses of its predecessor open meanwhile, and nobody serves them.
const UNLISTENING: u32 = 5;

/// What follows from a decision once it is made, in order; most of it for the dispatcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Started {
        worker: WorkerId,
        slot: SlotId,
    },
    Leaving {
        worker: WorkerId,
        refill: Refill,
    },
    NeverWas {
        worker: WorkerId,
    },
    Settled {
        slot: SlotId,
    },
    SlotGone {
        slot: SlotId,
    },
    StopAll,
    /// Comes after the listeners are closed, so that nothing is left to do then.
    Finished(Outcome),
}

/// Whether a leaving worker's seat will be taken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refill {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A seat's delay is over.
    Restart(SlotId),
    /// A worker should listen by now.
    Start(WorkerId),
    /// A worker has stayed up for the stable time.
    Stable(WorkerId),
    /// A leaving worker's step has taken too long.
    Step(WorkerId),
    /// A worker without a channel should have ended by now.
    Silent(WorkerId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SeatState {
    Waiting,
    Taken(WorkerId),
    Done(i32),
}

/// How a seat came to be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Exited(ExitStatus),
    NeverRan,
}

impl End {
    /// As a shell would put it into one number.
    fn code(self) -> i32 {
        const CANNOT_START: i32 = 127;
        const BY_SIGNAL: i32 = 128;
        match self {
            Self::Exited(ExitStatus::Code(code)) => code,
            Self::Exited(ExitStatus::Signal(signal)) => BY_SIGNAL + signal,
            Self::NeverRan => CANNOT_START,
        }
    }
}

#[derive(Debug)]
struct Slot {
    seat: SeatState,
    history: History,
    retiring: bool,
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
    next_slot: u32,
    next_worker: u32,
    phase: Phase,
    notices: VecDeque<Notice>,
}

impl Supervisor {
    pub(crate) fn new(settings: SuperviseSettings, seed: u64) -> Self {
        Self {
            settings,
            jitter: Jitter::from_seed(seed),
            slots: BTreeMap::new(),
            workers: BTreeMap::new(),
            timers: Timers::new(),
            next_slot: 0,
            next_worker: 1,
            phase: Phase::Running,
            notices: VecDeque::new(),
        }
    }

    pub(crate) fn next_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, out: &mut VecDeque<Action>) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Restart(slot) => self.fill(now, slot, out),
                Timer::Start(worker) => self.start_timed_out(now, worker, out),
                Timer::Stable(worker) => self.stable(now, worker),
                Timer::Step(worker) => self.step_timed_out(now, worker, out),
                Timer::Silent(worker) => self.silent_for_long(now, worker, out),
            }
        }
    }

    pub(crate) fn fork(&mut self, now: Instant, out: &mut VecDeque<Action>) -> Admission {
        if self.phase != Phase::Running {
            return Admission::Denied(Denied::Stopping);
        }
        if self.slots.len() >= MAX_SLOTS {
            return Admission::Denied(Denied::TooManySlots);
        }
        let slot = SlotId(self.next_slot);
        self.next_slot += 1;
        let entry = Slot { seat: SeatState::Waiting, history: History::default(), retiring: false };
        self.slots.insert(slot, entry);
        self.fill(now, slot, out);
        Admission::Forked(slot)
    }

    pub(crate) fn retire(
        &mut self,
        now: Instant,
        slot: SlotId,
        out: &mut VecDeque<Action>,
    ) -> Admission {
        if self.phase != Phase::Running {
            return Admission::Denied(Denied::Stopping);
        }
        let Some(entry) = self.slots.get_mut(&slot) else {
            return Admission::Denied(Denied::NoSuchSlot);
        };
        if std::mem::replace(&mut entry.retiring, true) {
            return Admission::AlreadySo;
        }
        match entry.seat {
            SeatState::Taken(worker) => {
                self.leave(now, worker, LeaveReason::Retired, Stage::Disconnect, out);
            }
            SeatState::Waiting | SeatState::Done(_) => self.remove_slot(slot),
        }
        Admission::Accepted
    }

    pub(crate) fn stop(
        &mut self,
        now: Instant,
        stage: Stage,
        out: &mut VecDeque<Action>,
    ) -> Admission {
        match &self.phase {
            Phase::Over => Admission::AlreadySo,
            Phase::Stopping(current, _) if *current >= stage => Admission::AlreadySo,
            Phase::Stopping(_, outcome) => {
                let outcome = outcome.clone();
                self.stop_all(now, stage, outcome, out);
                Admission::Accepted
            }
            Phase::Running => {
                self.stop_all(now, stage, Outcome::Stopped, out);
                Admission::Accepted
            }
        }
    }

    pub(crate) fn spawned(
        &mut self,
        now: Instant,
        worker: WorkerId,
        pid: u32,
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        entry.progress = entry.progress.max(Progress::Up);
        entry.since = now;
        let slot = entry.slot;
        out.push_back(Action::Emit(Event::Started { slot, worker, pid }));
        if let Some(leaving) = entry.leaving {
            self.take_step(now, worker, leaving.stage, out);
            return;
        }
        self.timers.set_after(Timer::Stable(worker), now, self.settings.restart.reset_after);
        if let Some(limit) = self.settings.start_timeout {
            self.timers.set_after(Timer::Start(worker), now, limit);
        }
    }

    pub(crate) fn spawn_failed(
        &mut self,
        now: Instant,
        worker: WorkerId,
        message: String,
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.workers.get(&worker) else { return };
        let slot = entry.slot;
        out.push_back(Action::Emit(Event::StartFailed { slot, worker, message }));
        self.notices.push_back(Notice::NeverWas { worker });
        self.seat_emptied(now, worker, End::NeverRan, out);
    }

    pub(crate) fn online(&mut self, worker: WorkerId, out: &mut VecDeque<Action>) {
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        if entry.progress < Progress::Online {
            entry.progress = Progress::Online;
            let slot = entry.slot;
            out.push_back(Action::Emit(Event::Online { slot, worker }));
        }
    }

    pub(crate) fn listening(&mut self, worker: WorkerId) {
        if let Some(entry) = self.workers.get_mut(&worker) {
            entry.progress = Progress::Listening;
            self.timers.cancel(Timer::Start(worker));
        }
    }

    pub(crate) fn exited(
        &mut self,
        now: Instant,
        worker: WorkerId,
        status: ExitStatus,
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.workers.get(&worker) else { return };
        let (slot, leaving) = (entry.slot, entry.leaving.map(|leaving| leaving.reason));
        out.push_back(Action::Emit(Event::Exited { slot, worker, status, leaving }));
        if leaving.is_none() {
            let refill = self.refill(worker);
            self.notices.push_back(Notice::Leaving { worker, refill });
        }
        self.seat_emptied(now, worker, End::Exited(status), out);
    }

    /// A seat is empty: fill it again, or not.
    fn seat_emptied(
        &mut self,
        now: Instant,
        worker: WorkerId,
        end: End,
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.workers.remove(&worker) else { return };
        for timer in [Timer::Start, Timer::Stable, Timer::Step, Timer::Silent] {
            self.timers.cancel(timer(worker));
        }
        let slot = entry.slot;
        if self.phase != Phase::Running {
            self.slots.remove(&slot);
            return self.finish_if_empty();
        }
        if self.slots.get(&slot).is_some_and(|slot| slot.retiring) {
            return self.remove_slot(slot);
        }
        match self.done_code(end) {
            Some(code) => self.slot_done(slot, code, out),
            None => self.restart(now, slot, worker, &entry, out),
        }
    }

    fn done_code(&self, end: End) -> Option<i32> {
        let restart = &self.settings.restart;
        let said_so = matches!(
            end, End::Exited(ExitStatus::Code(code)) if restart.done_codes.contains(&code)
        );
        (said_so || restart.mode == RestartMode::Never).then(|| end.code())
    }

    fn slot_done(&mut self, slot: SlotId, code: i32, out: &mut VecDeque<Action>) {
        out.push_back(Action::Emit(Event::SlotDone { slot }));
        self.notices.push_back(Notice::SlotGone { slot });
        match self.settings.when_idle {
            // Whoever drives the primary forks anew, into new slots.
            IdleRule::Wait => drop(self.slots.remove(&slot)),
            IdleRule::Finish => {
                if let Some(entry) = self.slots.get_mut(&slot) {
                    entry.seat = SeatState::Done(code);
                }
                self.finish_if_idle();
            }
        }
    }

    fn finish_if_idle(&mut self) {
        if self.settings.when_idle == IdleRule::Finish
            && let Some(code) = self.all_done()
        {
            self.notices.push_back(Notice::StopAll);
            self.phase = Phase::Over;
            self.notices.push_back(Notice::Finished(Outcome::Finished { code }));
        }
    }

    /// The highest exit code, when every slot is done.
    fn all_done(&self) -> Option<i32> {
        let codes = self.slots.values().map(|slot| match slot.seat {
            SeatState::Done(code) => Some(code),
            SeatState::Waiting | SeatState::Taken(_) => None,
        });
        codes.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    fn restart(
        &mut self,
        now: Instant,
        slot: SlotId,
        worker: WorkerId,
        life: &Worker,
        out: &mut VecDeque<Action>,
    ) {
        let restart = &self.settings.restart;
        let life = life.judge(now, restart);
        let Some(entry) = self.slots.get_mut(&slot) else { return };
        entry.seat = SeatState::Waiting;
        match entry.history.decide(now, life, restart, &mut self.jitter) {
            Decision::RestartAfter { delay, restarts } => {
                out.push_back(Action::Emit(Event::RestartScheduled { slot, delay, restarts }));
                if delay.is_zero() {
                    self.fill(now, slot, out);
                } else {
                    self.timers.set_after(Timer::Restart(slot), now, delay);
                }
            }
            Decision::GiveUp => self.give_up(now, slot, worker, out),
        }
    }

    fn give_up(
        &mut self,
        now: Instant,
        slot: SlotId,
        worker: WorkerId,
        out: &mut VecDeque<Action>,
    ) {
        let RestartSettings { limit, window, .. } = self.settings.restart;
        let reason = FailReason::RestartLimit { slot, worker, limit, window };
        out.push_back(Action::Emit(Event::Failed(reason.clone())));
        self.stop_all(now, Stage::Disconnect, Outcome::Failed(reason), out);
    }

    fn fill(&mut self, now: Instant, slot: SlotId, out: &mut VecDeque<Action>) {
        let Some(entry) = self.slots.get_mut(&slot) else { return };
        let worker = WorkerId(self.next_worker);
        self.next_worker += 1;
        entry.seat = SeatState::Taken(worker);
        self.workers.insert(worker, Worker::new(slot, now));
        self.notices.push_back(Notice::Started { worker, slot });
        out.push_back(Action::Spawn { slot, worker });
    }

    fn remove_slot(&mut self, slot: SlotId) {
        self.timers.cancel(Timer::Restart(slot));
        self.slots.remove(&slot);
        self.notices.push_back(Notice::SlotGone { slot });
        self.finish_if_idle();
    }

    /// A worker that has not listened yet may still want the addresses its slot holds.
    fn stable(&mut self, now: Instant, worker: WorkerId) {
        let Some(entry) = self.workers.get(&worker) else { return };
        let pause = self.stable_pause();
        let waited_for = now.duration_since(entry.since) >= pause.saturating_mul(UNLISTENING);
        if entry.progress == Progress::Listening || waited_for {
            self.notices.push_back(Notice::Settled { slot: entry.slot });
        } else {
            self.timers.set_after(Timer::Stable(worker), now, pause);
        }
    }

    /// Never zero, or a worker that does not listen would be looked after without end.
    fn stable_pause(&self) -> Duration {
        self.settings.restart.reset_after.max(Duration::from_secs(1))
    }

    fn start_timed_out(&mut self, now: Instant, worker: WorkerId, out: &mut VecDeque<Action>) {
        let Some(entry) = self.workers.get(&worker) else { return };
        if entry.leaving.is_some() {
            return;
        }
        let slot = entry.slot;
        let after = self.settings.start_timeout.unwrap_or_default();
        out.push_back(Action::Emit(Event::StartTimedOut { slot, worker, after }));
        self.leave(now, worker, LeaveReason::StartTimeout, Stage::Terminate, out);
    }

    fn stop_all(
        &mut self,
        now: Instant,
        stage: Stage,
        outcome: Outcome,
        out: &mut VecDeque<Action>,
    ) {
        self.phase = Phase::Stopping(stage, outcome);
        self.notices.push_back(Notice::StopAll);
        self.slots.retain(|slot, entry| {
            self.timers.cancel(Timer::Restart(*slot));
            matches!(entry.seat, SeatState::Taken(_))
        });
        let workers: Vec<_> = self.workers.keys().copied().collect();
        out.push_back(Action::Emit(Event::Stopping { stage, workers: workers.len() }));
        for worker in workers {
            self.leave(now, worker, LeaveReason::Stop, stage, out);
        }
        self.finish_if_empty();
    }

    fn finish_if_empty(&mut self) {
        if !self.workers.is_empty() {
            return;
        }
        if let Phase::Stopping(_, outcome) = std::mem::replace(&mut self.phase, Phase::Over) {
            self.notices.push_back(Notice::Finished(outcome));
        }
    }

    fn refill(&self, worker: WorkerId) -> Refill {
        let slot = self.workers.get(&worker).map(|entry| entry.slot);
        let retiring = slot.and_then(|slot| self.slots.get(&slot)).is_none_or(|slot| slot.retiring);
        if retiring || self.phase != Phase::Running { Refill::No } else { Refill::Yes }
    }
}
