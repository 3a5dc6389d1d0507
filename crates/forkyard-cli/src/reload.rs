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

use forkyard_control::server::Watcher;
use forkyard_control::types::{ReloadState, Update, Worker};

use crate::control::milliseconds;
use crate::exit_code::Failure;
use crate::launch::Plan;
use crate::report::{self, Reporter, describe_failure};

/// How often it is said what a roll is waiting for.
pub(crate) const REMINDER: Duration = Duration::from_secs(5);

/// What the next image is told while a reload waits.
const WAITS: &str = "a reload waits";

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
    /// Who wants to know how the present one goes, and who waits for the next.
    watching: Vec<Watcher>,
    waiting: Vec<Watcher>,
    /// How the present one went wrong.
    failure: Option<Update>,
    /// How the last one ended.
    last: Option<Update>,
}

impl<'a> Reloads<'a> {
    pub(crate) fn new(source: &'a Source<'a>, rule: ReloadRule) -> Self {
        Self {
            source,
            rule,
            state: State::Idle,
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

    /// Goes on where the image before was: a roll may be under way, and a reload wait for its
    /// end.
    pub(crate) fn take_over(&mut self, rolling: Option<RollReason>, note: Option<&str>) {
        self.state = match (rolling, note) {
            (Some(_), Some(WAITS)) => State::OneWaits,
            (Some(RollReason::Reload), _) => State::UnderWay,
            _ => State::Idle,
        };
    }

    /// Somebody wants a reload, and perhaps to know how it goes.
    pub(crate) async fn wanted(
        &mut self,
        watcher: Option<Watcher>,
        handle: &ClusterHandle,
        reporter: &Reporter,
    ) {
        match (self.state, self.rule.second) {
            (State::Idle, _) => {
                self.watching.extend(watcher);
                self.begin(handle, reporter).await;
            }
            (State::UnderWay | State::OneWaits, WhenBusy::Wait) => {
                self.state = State::OneWaits;
                leave(handle, Some(WAITS)).await;
                watcher.iter().for_each(|watcher| watcher.tell(Update::Waiting));
                // The control socket bounds how many are there.
                self.waiting.retain(|watcher| !watcher.is_gone());
                self.waiting.extend(watcher);
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

    /// What is found on disk is what it begins with, however long it had to wait.
    async fn begin(&mut self, handle: &ClusterHandle, reporter: &Reporter) {
        self.failure = None;
        let found = match (self.source)() {
            Ok(plan) => plan,
            Err(failure) => return self.not_begun(&failure.to_string(), reporter),
        };
        let plan = RollPlan::default()
            .program(found.program)
            .workers(found.workers)
            .surge(self.rule.surge)
            .when_busy(WhenBusy::Refuse);
        match handle.roll(plan).await {
            // Its end is told by events.
            Ok(_ticket) => self.state = State::UnderWay,
            Err(error) => self.not_begun(&error.to_string(), reporter),
        }
    }

    fn not_begun(&mut self, why: &str, reporter: &Reporter) {
        reporter.reload_failed(why);
        self.tell_end(&Update::Refused { reason: why.to_owned() });
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
    pub(crate) async fn event(
        &mut self,
        event: &Event,
        handle: &ClusterHandle,
        reporter: &Reporter,
    ) {
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
                let worker = Some(shown(*info));
                self.failure.get_or_insert(Update::Failed { worker, reason, stderr_tail });
            }
            Event::RollBackFailed { info, .. } => drop(self.steps.remove(&info.slot)),
            Event::RollFinished { took, .. } => {
                let took_ms = milliseconds(*took);
                self.ended(&Update::Finished { took_ms }, handle, reporter).await;
            }
            Event::RolledBack { .. } => {
                let failure = self.failure.take().unwrap_or_else(turned_back);
                self.ended(&failure, handle, reporter).await;
            }
            Event::RollAborted { .. } => {
                leave(handle, None).await;
                self.steps.clear();
                self.state = State::Idle;
                self.watching.append(&mut self.waiting);
                self.tell_end(&stopped());
            }
            _ => {}
        }
    }

    async fn ended(&mut self, how: &Update, handle: &ClusterHandle, reporter: &Reporter) {
        self.steps.clear();
        self.tell_end(how);
        if std::mem::replace(&mut self.state, State::Idle) == State::OneWaits {
            leave(handle, None).await;
            self.watching.append(&mut self.waiting);
            self.begin(handle, reporter).await;
        }
    }

    /// The end is told by itself.
    fn tell_progress(&self, event: &Event) {
        let is_end = matches!(event, Event::RollFinished { .. } | Event::RolledBack { .. });
        if !self.watching.is_empty()
            && !is_end
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

/// A primary that has ended is noticed by its events.
async fn leave(handle: &ClusterHandle, note: Option<&str>) {
    let _ = handle.leave_note(note.map(str::to_owned)).await;
}

fn shown(info: WorkerInfo) -> Worker {
    Worker { slot: info.slot.0, worker: info.worker.0, pid: info.pid }
}

/// The image before has seen why.
fn turned_back() -> Update {
    let reason = "a successor was no good; the app's own output tells which, and why".to_owned();
    Update::Failed { worker: None, reason, stderr_tail: Vec::new() }
}

fn stopped() -> Update {
    let reason = "the app is stopping".to_owned();
    Update::Failed { worker: None, reason, stderr_tail: Vec::new() }
}
