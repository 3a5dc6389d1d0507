//! Reloads: what they take anew from disk, what a second one does, how far the first has come.
//!
//! ```text
//!              wanted                       wanted
//!   idle ─────────────────▶ under way ─────────────────▶ under way, one waits
//!    ▲                          │                              │
//!    └──────────────────────────┘ over                         │ over: begins
//!                               ▲──────────────────────────────┘
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use forkyard::{
    ClusterHandle, Event, RollPlan, RollReason, RollStep, SlotId, Surge, WhenBusy, WorkerInfo,
};

use crate::exit_code::Failure;
use crate::launch::Plan;
use crate::report::Reporter;

/// How often it is said what a roll is waiting for.
pub(crate) const REMINDER: Duration = Duration::from_secs(5);

/// Where it is found out what the next generation is started from.
pub(crate) type Source<'a> = dyn Fn() -> Result<Plan, Failure> + 'a;

/// How reloads are done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReloadRule {
    pub(crate) surge: Surge,
    /// What becomes of a second one while the first is under way.
    pub(crate) second: WhenBusy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    UnderWay,
    OneWaits,
}

/// See the module's documentation.
pub(crate) struct Reloads<'a> {
    source: &'a Source<'a>,
    rule: ReloadRule,
    state: State,
    /// Successors on their way, and since when they are where they are.
    steps: BTreeMap<SlotId, (WorkerInfo, RollStep, Instant)>,
}

impl<'a> Reloads<'a> {
    pub(crate) fn new(source: &'a Source<'a>, rule: ReloadRule) -> Self {
        Self { source, rule, state: State::Idle, steps: BTreeMap::new() }
    }

    /// Somebody wants a reload.
    pub(crate) async fn wanted(&mut self, handle: &ClusterHandle, reporter: &Reporter) {
        match (self.state, self.rule.second) {
            (State::Idle, _) => self.begin(handle, reporter).await,
            (State::UnderWay | State::OneWaits, WhenBusy::Wait) => {
                self.state = State::OneWaits;
                reporter.reload_put_off("a reload is under way; the next one begins after it");
            }
            (State::UnderWay | State::OneWaits, WhenBusy::Refuse) => {
                reporter.reload_put_off("refused a reload, because one is under way");
            }
        }
    }

    /// What is found on disk is what it begins with, however long it had to wait.
    async fn begin(&mut self, handle: &ClusterHandle, reporter: &Reporter) {
        let found = match (self.source)() {
            Ok(plan) => plan,
            Err(failure) => return reporter.reload_failed(&failure.to_string()),
        };
        let plan = RollPlan::default()
            .program(found.program)
            .workers(found.workers)
            .surge(self.rule.surge)
            .when_busy(WhenBusy::Refuse);
        match handle.roll(plan).await {
            // Its end is told by events.
            Ok(_ticket) => self.state = State::UnderWay,
            Err(error) => reporter.reload_failed(&error.to_string()),
        }
    }

    /// Takes note of how far it has come.
    pub(crate) async fn event(
        &mut self,
        event: &Event,
        handle: &ClusterHandle,
        reporter: &Reporter,
    ) {
        match event {
            Event::RollStarted { reason: RollReason::Reload | RollReason::Replace, .. } => {
                self.steps.clear();
            }
            Event::RollStep { info, step: RollStep::Seated } => drop(self.steps.remove(&info.slot)),
            Event::RollStep { info, step } => {
                self.steps.insert(info.slot, (*info, *step, Instant::now()));
            }
            Event::RollFailed { info, .. } | Event::RollBackFailed { info, .. } => {
                self.steps.remove(&info.slot);
            }
            Event::RollFinished { .. } | Event::RolledBack { .. } => {
                self.steps.clear();
                if std::mem::replace(&mut self.state, State::Idle) == State::OneWaits {
                    self.begin(handle, reporter).await;
                }
            }
            Event::RollAborted { .. } => {
                self.steps.clear();
                self.state = State::Idle;
            }
            _ => {}
        }
    }

    /// Says what is being waited for, if it takes its time.
    pub(crate) fn remind(&self, reporter: &Reporter) {
        for (info, step, since) in self.steps.values() {
            let waited = since.elapsed();
            if waited >= REMINDER {
                reporter.still(*info, *step, waited);
            }
        }
    }
}
