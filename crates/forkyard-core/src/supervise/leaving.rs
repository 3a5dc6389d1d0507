//! Empties a seat step by step.
//!
//! ```text
//!   asked by an operator ─▶ Disconnect ───time-out──▶ Terminate ───time-out──▶ Kill
//!                             ▲    │                    ▲  ▲                    │
//!   says that it leaves ──────┘    │ channel ended      │  │                    ▼
//!   (nobody asks it then)          └─ and exit grace ───┘  │                  Exited
//!                                     (if it was asked)    │
//!   not listening in time, channel broken, ────────────────┘
//!   channel ended and silent for long
//! ```
//!
//! Severity only rises. A worker that is still starting takes its step when it runs.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::worker::{Channel, Progress};
use super::{Notice, Supervisor, Timer};
use crate::event::{Event, LeaveReason};
use crate::id::WorkerId;
use crate::input::{Action, Stage};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Leaving {
    pub(super) stage: Stage,
    pub(super) reason: LeaveReason,
}

impl Leaving {
    /// Whether this step was taken, or a more severe one. Nobody has asked a worker that
    /// leaves of its own accord, unless a time-out has.
    fn covers(self, stage: Stage) -> bool {
        let unasked = self.reason == LeaveReason::OwnWish && self.stage == Stage::Disconnect;
        self.stage >= stage && !unasked
    }
}

impl Supervisor {
    /// The worker says that it leaves.
    pub(crate) fn leave_announced(&mut self, now: Instant, worker: WorkerId, seq: u64) {
        if !self.workers.contains_key(&worker) {
            return;
        }
        self.note_leaving(now, worker, LeaveReason::OwnWish, Stage::Disconnect);
        self.decisions.act(Action::AcknowledgeLeave { worker, seq });
        self.successor_leaves(now, worker);
    }

    pub(crate) fn channel_ended(&mut self, now: Instant, worker: WorkerId) {
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        if std::mem::replace(&mut entry.channel, Channel::Ended) == Channel::Ended {
            return;
        }
        let (slot, leaving) = (entry.slot, entry.leaving.is_some());
        if entry.progress < Progress::Online {
            return;
        }
        self.decisions.tell(Event::Disconnected { slot, worker });
        // It will not settle any more: what it held is its successor's, and it will be nobody's.
        self.timers.cancel(Timer::Stable(worker));
        self.timers.cancel(Timer::Settle(worker));
        if leaving {
            self.hasten(now, worker);
        } else {
            // Most often it has crashed and its exit will be known in a moment. One that
            // lives on without having said that it leaves gets no more connections, and
            // the time to finish those it has.
            let patience = self.settings.drain_timeout.max(self.settings.exit_grace);
            self.timers.set_after(Timer::Silent(worker), now, patience);
        }
    }

    /// A worker that has closed its channel lives on.
    pub(super) fn silent_for_long(&mut self, now: Instant, worker: WorkerId) {
        let Some(entry) = self.workers.get(&worker) else { return };
        let (slot, stage) = (entry.slot, Stage::Terminate);
        if entry.leaving.is_none() {
            self.decisions.tell(Event::Escalated { slot, worker, stage });
            self.leave(now, worker, LeaveReason::Unusable, stage);
            self.successor_leaves(now, worker);
        }
    }

    pub(crate) fn channel_broken(&mut self, now: Instant, worker: WorkerId) {
        self.leave(now, worker, LeaveReason::Unusable, Stage::Terminate);
        self.successor_leaves(now, worker);
    }

    /// Begins to end a worker, or goes on with a more severe step.
    pub(super) fn leave(
        &mut self,
        now: Instant,
        worker: WorkerId,
        reason: LeaveReason,
        stage: Stage,
    ) {
        if let Some(stage) = self.begin_leaving(now, worker, reason, stage) {
            self.take_step(now, worker, stage);
        }
    }

    /// Has a worker get no more connections. Returns the step that is to be taken then.
    pub(super) fn begin_leaving(
        &mut self,
        now: Instant,
        worker: WorkerId,
        reason: LeaveReason,
        stage: Stage,
    ) -> Option<Stage> {
        let entry = self.workers.get(&worker)?;
        let stage = entry.reachable(stage);
        let before = entry.leaving;
        self.note_leaving(now, worker, reason, stage);
        before.is_none_or(|leaving| !leaving.covers(stage)).then_some(stage)
    }

    /// Records that a worker leaves; severity only ever rises.
    fn note_leaving(&mut self, now: Instant, worker: WorkerId, reason: LeaveReason, stage: Stage) {
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        let first = entry.leaving.is_none();
        let before = entry.leaving.map_or(stage, |leaving| leaving.stage);
        let reason = match entry.leaving {
            Some(earlier) if reason == LeaveReason::OwnWish => earlier.reason,
            _ => reason,
        };
        entry.leaving = Some(Leaving { stage: stage.max(before), reason });
        self.timers.cancel(Timer::Start(worker));
        self.timers.cancel(Timer::Stable(worker));
        if first {
            self.arm_step(now, worker, stage);
            let refill = self.refill(worker);
            self.decisions.notify(Notice::Leaving { worker, refill });
        }
    }

    pub(super) fn take_step(&mut self, now: Instant, worker: WorkerId, stage: Stage) {
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        if let Some(leaving) = &mut entry.leaving {
            leaving.stage = leaving.stage.max(stage);
        }
        if entry.progress == Progress::Starting {
            return;
        }
        self.decisions.act(match stage {
            Stage::Disconnect => Action::AskDisconnect { worker },
            Stage::Terminate => Action::Terminate { worker },
            Stage::Kill => Action::Kill { worker },
        });
        self.arm_step(now, worker, stage);
    }

    fn arm_step(&mut self, now: Instant, worker: WorkerId, stage: Stage) {
        match stage {
            Stage::Disconnect => {
                self.timers.set_after(Timer::Step(worker), now, self.settings.drain_timeout);
            }
            Stage::Terminate => {
                self.timers.set_after(Timer::Step(worker), now, self.settings.term_timeout);
            }
            Stage::Kill => self.timers.cancel(Timer::Step(worker)),
        }
    }

    /// A worker that was asked to disconnect and has done so should exit soon. One that
    /// leaves of its own accord may have other work to finish.
    fn hasten(&mut self, now: Instant, worker: WorkerId) {
        let leaving = self.workers.get(&worker).and_then(|entry| entry.leaving);
        let was_asked = leaving.is_some_and(|leaving| {
            leaving.stage == Stage::Disconnect && leaving.reason != LeaveReason::OwnWish
        });
        if was_asked {
            let grace = self.settings.exit_grace.min(self.settings.drain_timeout);
            self.timers.set_after(Timer::Step(worker), now, grace);
        }
    }

    pub(super) fn step_timed_out(&mut self, now: Instant, worker: WorkerId) {
        let Some(entry) = self.workers.get(&worker) else { return };
        let Some(leaving) = entry.leaving else { return };
        let (slot, stage) = (entry.slot, leaving.stage.next());
        self.decisions.tell(Event::Escalated { slot, worker, stage });
        self.take_step(now, worker, stage);
    }
}
