//! Reloads: what they take anew from disk, what a second one does, how far the first has come.
//!
//! ```text
//!              wanted                       wanted
//!   idle ─────────────────▶ under way ─────────────────▶ under way, one waits
//!    ▲                          │                              │
//!    └──────────────────────────┘ over                         │ over: the next
//!                               ▲──────────────────────────────┘
//!
//!   under way:  planned, beside all else ──▶ rolled by the primary ──▶ over
//! ```
//!
//! After an upgrade of the primary the next image goes on: a roll is in the primary's own state, and
//! a note says that a reload waits for its end, or has not come further than being planned.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use forkyard::{
    ClusterHandle, Event, RollPlan, RollReason, RollStep, SlotId, Surge, WhenBusy, WorkerInfo,
};

use forkyard_control::server::Watcher;
use forkyard_control::types::{ReloadState, Update};

use crate::control::{STOPPING, milliseconds, told};
use crate::exit_code::Failure;
use crate::launch::Plan;
use crate::note::Note;
use crate::planning::{Planning, Source};
use crate::report::{self, Reporter, describe_failure};

/// How often it is said what a roll is waiting for.
pub(crate) const REMINDER: Duration = Duration::from_secs(5);

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
pub(crate) struct Reloads {
    source: Source,
    rule: ReloadRule,
    state: State,
    /// What the present one is started from is being found out.
    planning: Option<Planning>,
    /// Successors on their way, and since when they are where they are.
    steps: BTreeMap<SlotId, (WorkerInfo, RollStep, Instant)>,
    /// Who wants to know how the present one goes, and who waits for the next.
    watching: Vec<Watcher>,
    waiting: Vec<Watcher>,
    /// How the present one went wrong.
    failure: Option<Update>,
    /// How the last one ended.
    last: Option<Update>,
}

impl Reloads {
    pub(crate) fn new(source: Source, rule: ReloadRule) -> Self {
        Self {
            source,
            rule,
            state: State::Idle,
            planning: None,
            steps: BTreeMap::new(),
            watching: Vec::new(),
            waiting: Vec::new(),
            failure: None,
            last: None,
        }
    }

    /// How the last one goes or went, for whoever has lost sight of it at an upgrade.
    pub(crate) fn shown(&self) -> Option<ReloadState> {
        match self.state {
            State::UnderWay | State::OneWaits => Some(ReloadState::UnderWay),
            State::Idle => self.last.clone().map(|outcome| ReloadState::Over { outcome }),
        }
    }

    /// Somebody has lost sight of a reload at an upgrade, and wants to know how it goes on. If one
    /// waits, it may be that one.
    pub(crate) fn follow(&mut self, watcher: Watcher) {
        match self.state {
            State::UnderWay => {
                self.watching.retain(|watcher| !watcher.is_gone());
                self.watching.push(watcher);
            }
            State::OneWaits => self.wait(Some(watcher)),
            State::Idle => self.last.iter().for_each(|outcome| watcher.tell(outcome.clone())),
        }
    }

    /// Goes on where the image before was: a roll may be under way, and a reload wait for its
    /// end, or for being planned.
    pub(crate) fn take_over(&mut self, rolling: Option<RollReason>, note: Note) {
        match (rolling, note.reload_waits) {
            (Some(_), true) => self.state = State::OneWaits,
            (Some(RollReason::Reload), _) => self.state = State::UnderWay,
            (None, true) => self.plan(),
            _ => {}
        }
    }

    /// The next image may go on any moment. What waits, or has not come further than being
    /// planned, is for that one to begin; or for this one, if it has to go on itself.
    pub(crate) async fn rest(&mut self) {
        if let Some(planning) = &mut self.planning {
            planning.rest().await;
        }
    }

    /// Whether one is still to begin.
    pub(crate) fn is_one_waiting(&self) -> bool {
        self.planning.is_some() || self.state == State::OneWaits
    }

    /// Somebody wants a reload, of an app that is about to stop.
    pub(crate) fn deny(watcher: Option<Watcher>, reporter: &Reporter) {
        let reason = STOPPING.to_owned();
        watcher.iter().for_each(|watcher| {
            watcher.tell(Update::Refused { reason: reason.clone() });
        });
        reporter.reload_put_off("refused a reload, because the app is stopping");
    }

    /// Somebody wants a reload, and perhaps to know how it goes.
    pub(crate) fn wanted(&mut self, watcher: Option<Watcher>, reporter: &Reporter) {
        match (self.state, self.rule.second) {
            (State::Idle, _) => {
                self.watching.extend(watcher);
                self.plan();
            }
            (State::UnderWay | State::OneWaits, WhenBusy::Wait) => {
                self.state = State::OneWaits;
                watcher.iter().for_each(|watcher| watcher.tell(Update::Waiting));
                self.wait(watcher);
                reporter.reload_put_off("a reload is under way; the next one begins after it");
            }
            (State::UnderWay | State::OneWaits, WhenBusy::Refuse) => {
                let reason = "another reload is under way".to_owned();
                watcher.iter().for_each(|watcher| {
                    watcher.tell(Update::Refused { reason: reason.clone() });
                });
                reporter.reload_put_off("refused a reload, because one is under way");
            }
        }
    }

    /// The control socket bounds how many are there.
    fn wait(&mut self, watcher: Option<Watcher>) {
        self.waiting.retain(|watcher| !watcher.is_gone());
        self.waiting.extend(watcher);
    }

    /// What is found on disk is what it begins with, however long it had to wait.
    fn plan(&mut self) {
        self.failure = None;
        self.state = State::UnderWay;
        self.planning = Some(Planning::of(&self.source));
    }

    /// What has been found, once it has; for [`begin`](Self::begin).
    pub(crate) async fn planned(&mut self) -> Result<Plan, Failure> {
        match &mut self.planning {
            Some(planning) => planning.end().await,
            None => std::future::pending().await,
        }
    }

    /// Has the primary do what has been planned.
    pub(crate) async fn begin(
        &mut self,
        planned: Result<Plan, Failure>,
        handle: &ClusterHandle,
        reporter: &Reporter,
    ) {
        self.planning = None;
        let found = match planned {
            Ok(plan) => plan,
            Err(failure) => return self.not_begun(&failure.to_string(), reporter),
        };
        let plan = RollPlan::default()
            .program(found.program)
            .workers(found.workers)
            .surge(self.rule.surge)
            .when_busy(WhenBusy::Refuse);
        // Its end is told by events.
        if let Err(error) = handle.roll(plan).await {
            self.not_begun(&error.to_string(), reporter);
        }
    }

    fn not_begun(&mut self, why: &str, reporter: &Reporter) {
        reporter.reload_failed(why);
        self.ended(&Update::Refused { reason: why.to_owned() });
    }

    /// The app is over. Whoever still waits is told so.
    pub(crate) fn refuse(&mut self) {
        self.planning = None;
        self.watching.append(&mut self.waiting);
        self.tell_end(&Update::Refused { reason: STOPPING.to_owned() });
    }

    fn tell(&self, update: &Update) {
        self.watching.iter().for_each(|watcher| watcher.tell(update.clone()));
    }

    fn tell_end(&mut self, update: &Update) {
        self.tell(update);
        self.watching.clear();
        self.last = Some(update.clone());
    }

    /// Takes note of how far it has come.
    pub(crate) fn event(&mut self, event: &Event) {
        self.tell_progress(event);
        match event {
            Event::RollStarted { reason: RollReason::Reload | RollReason::Replace, .. } => {
                self.steps.clear();
            }
            Event::RollStep { info, step: RollStep::Seated } => drop(self.steps.remove(&info.slot)),
            Event::RollStep { info, step } => {
                self.steps.insert(info.slot, (*info, *step, Instant::now()));
            }
            Event::RollFailed { info, reason, stderr_tail, .. } => {
                self.steps.remove(&info.slot);
                let stderr_tail = stderr_tail.clone();
                let reason = describe_failure(reason);
                let worker = Some(told(*info));
                self.failure.get_or_insert(Update::Failed { worker, reason, stderr_tail });
            }
            Event::RollBackFailed { info, .. } => drop(self.steps.remove(&info.slot)),
            Event::RollFinished { took, .. } => {
                let took_ms = milliseconds(*took);
                self.ended(&Update::Finished { took_ms });
            }
            Event::RolledBack { .. } => {
                let failure = self.failure.take().unwrap_or_else(turned_back);
                self.ended(&failure);
            }
            Event::RollAborted { .. } => {
                self.steps.clear();
                self.state = State::Idle;
                self.watching.append(&mut self.waiting);
                self.tell_end(&stopped());
            }
            _ => {}
        }
    }

    fn ended(&mut self, how: &Update) {
        self.steps.clear();
        self.tell_end(how);
        if std::mem::replace(&mut self.state, State::Idle) == State::OneWaits {
            self.watching.append(&mut self.waiting);
            self.plan();
        }
    }

    /// A good end is told by itself; of a bad one the outcome tells the cause, and this what has
    /// become of the workers.
    fn tell_progress(&self, event: &Event) {
        let is_good_end = matches!(event, Event::RollFinished { .. });
        if !self.watching.is_empty()
            && !is_good_end
            && let Some(progress) = report::progress(event)
        {
            self.tell(&progress);
        }
    }

    /// Says what is being waited for, if it takes its time.
    pub(crate) fn remind(&self, reporter: &Reporter) {
        for (info, step, since) in self.steps.values() {
            let waited = since.elapsed();
            if waited >= REMINDER {
                reporter.still(*info, *step, waited);
                self.tell(&report::still(*info, *step, waited));
            }
        }
    }
}

/// The image before has seen why.
fn turned_back() -> Update {
    let reason = "a successor was no good; the app's own output tells which, and why".to_owned();
    Update::Failed { worker: None, reason, stderr_tail: Vec::new() }
}

fn stopped() -> Update {
    let reason = STOPPING.to_owned();
    Update::Failed { worker: None, reason, stderr_tail: Vec::new() }
}
