//! Reloads and restarts, one after the other: what they take anew from disk, what becomes of a
//! second one, how far the first has come.
//!
//! ```text
//!              wanted                              wanted: it waits
//!   idle ─────────────────▶ preparing ──▶ rolling ◀────────────────┐
//!    ▲                          ▲            │ over                │
//!    │                          │            ▼                     │
//!    └───────nothing waits──────┴──the next──┴─────────────────────┘
//!
//!   preparing:  a reload finds out what it is started from, beside all else; a restart knows
//!   rolling:    done by the primary, which tells how far it is
//! ```
//!
//! After an upgrade of the primary the next image goes on: a roll is in the primary's own state, and
//! a note says what waits for its end, or has not come further than being prepared.

mod queue;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use forkyard::{
    ClusterHandle, Event, RequestError, RollPlan, RollReason, RollStep, RollTicket, SlotId, Surge,
    WhenBusy, WorkerInfo,
};

use forkyard_control::server::Watcher;
use forkyard_control::types::{ReloadState, Update};

use crate::control::{STOPPING, milliseconds, told};
use crate::exit_code::Failure;
use crate::launch::Plan;
use crate::note::Note;
use crate::planning::{Planning, Source};
use crate::report::{self, Reporter, describe_failure};
use queue::{Queue, Watchers};
pub(crate) use queue::{Seats, Wanted};

/// How often it is said what a roll is waiting for.
pub(crate) const REMINDER: Duration = Duration::from_secs(5);

/// How reloads are done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReloadRule {
    pub(crate) surge: Surge,
    /// What becomes of a second one while the first is under way.
    pub(crate) second: WhenBusy,
}

enum State {
    Idle,
    /// What the next generation is started from is being found out.
    Planning(Planning),
    /// There is nothing to find out.
    Prepared(Seats),
    /// The primary is at it.
    Rolling,
}

/// What the primary is to do.
#[derive(Debug)]
pub(crate) enum Preparation {
    Reload(Plan),
    Restart(Seats),
}

/// See the module's documentation.
pub(crate) struct Reloads {
    source: Source,
    rule: ReloadRule,
    state: State,
    /// Successors on their way, and since when they are where they are.
    steps: BTreeMap<SlotId, (WorkerInfo, RollStep, Instant)>,
    /// Who wants to know how the present one goes, and what comes after it.
    watching: Watchers,
    waiting: Queue,
    /// How the present one went wrong.
    failure: Option<Update>,
    /// How the last one ended.
    last: Option<Update>,
    /// How many workers somebody wanted, whatever the settings say.
    scaled: Option<NonZeroUsize>,
}

impl Reloads {
    pub(crate) fn new(source: Source, rule: ReloadRule) -> Self {
        Self {
            source,
            rule,
            state: State::Idle,
            steps: BTreeMap::new(),
            watching: Watchers::default(),
            waiting: Queue::default(),
            failure: None,
            last: None,
            scaled: None,
        }
    }

    /// How the last one goes or went, for whoever has lost sight of it at an upgrade.
    pub(crate) fn shown(&self) -> Option<ReloadState> {
        match self.state {
            State::Idle => self.last.clone().map(|outcome| ReloadState::Over { outcome }),
            _ => Some(ReloadState::UnderWay),
        }
    }

    /// From now on reloads keep so many workers.
    pub(crate) fn scaled(&mut self, workers: NonZeroUsize) {
        self.scaled = Some(workers);
    }

    /// Somebody has lost sight of one at an upgrade, and wants to know how it goes on. If others
    /// wait, it may be the last of them.
    pub(crate) fn follow(&mut self, watcher: Watcher) {
        match (&self.state, self.waiting.last()) {
            (State::Idle, _) => self.last.iter().for_each(|outcome| watcher.tell(outcome.clone())),
            (_, Some(watchers)) => watchers.add(Some(watcher)),
            (_, None) => self.watching.add(Some(watcher)),
        }
    }

    /// Goes on where the image before was: a roll may be under way, and others wait for its end,
    /// or for being prepared.
    pub(crate) fn take_over(&mut self, rolling: Option<RollReason>, note: &Note) {
        (self.waiting, self.scaled) = (Queue::of(&note.waiting), note.scaled);
        match rolling {
            Some(_) => self.state = State::Rolling,
            None => self.begin_next(),
        }
    }

    /// What the next image is to know, which may go on any moment. What waits, or has not come
    /// further than being prepared, is for that one to begin; or for this one, if it has to go on
    /// itself.
    pub(crate) fn note(&self) -> Note {
        let unprepared = match &self.state {
            State::Planning(_) => Some(Wanted::Reload),
            State::Prepared(seats) => Some(Wanted::Restart(*seats)),
            State::Idle | State::Rolling => None,
        };
        let waiting = unprepared.into_iter().chain(self.waiting.wanted()).collect();
        Note { waiting, scaled: self.scaled, ..Note::default() }
    }

    /// Nothing is under way that the next image would not know of.
    pub(crate) async fn rest(&mut self) {
        if let State::Planning(planning) = &mut self.state {
            planning.rest().await;
        }
    }

    /// Somebody wants something of an app that is about to stop.
    pub(crate) fn deny(watcher: Option<Watcher>, reporter: &Reporter) {
        let reason = STOPPING.to_owned();
        watcher.iter().for_each(|watcher| {
            watcher.tell(Update::Refused { reason: reason.clone() });
        });
        reporter.reload_put_off("refused a reload, because the app is stopping");
    }

    /// Somebody wants something, and perhaps to know how it goes.
    pub(crate) fn wanted(&mut self, wanted: Wanted, watcher: Option<Watcher>, reporter: &Reporter) {
        match (&self.state, self.rule.second) {
            (State::Idle, _) => {
                self.watching.add(watcher);
                self.prepare(wanted);
            }
            (_, WhenBusy::Wait) => {
                watcher.iter().for_each(|watcher| watcher.tell(Update::Waiting));
                self.waiting.push(wanted, watcher);
                reporter.reload_put_off("a reload is under way; the next one begins after it");
            }
            (_, WhenBusy::Refuse) => {
                let reason = "another reload is under way".to_owned();
                watcher.iter().for_each(|watcher| {
                    watcher.tell(Update::Refused { reason: reason.clone() });
                });
                reporter.reload_put_off("refused a reload, because one is under way");
            }
        }
    }

    /// What is found on disk is what a reload begins with, however long it had to wait.
    fn prepare(&mut self, wanted: Wanted) {
        self.failure = None;
        self.state = match wanted {
            Wanted::Reload => State::Planning(Planning::of(&self.source)),
            Wanted::Restart(seats) => State::Prepared(seats),
        };
    }

    /// What has been prepared, once it is; for [`begin`](Self::begin).
    pub(crate) async fn prepared(&mut self) -> Result<Preparation, Failure> {
        match &mut self.state {
            State::Planning(planning) => planning.end().await.map(Preparation::Reload),
            State::Prepared(seats) => Ok(Preparation::Restart(*seats)),
            State::Idle | State::Rolling => std::future::pending().await,
        }
    }

    /// Has the primary do what has been prepared.
    pub(crate) async fn begin(
        &mut self,
        prepared: Result<Preparation, Failure>,
        handle: &ClusterHandle,
        reporter: &Reporter,
    ) {
        self.state = State::Rolling;
        let begun = match prepared {
            Ok(preparation) => self.ask(preparation, handle).await,
            Err(failure) => return self.not_begun(&failure.to_string(), reporter),
        };
        // Its end is told by events.
        if let Err(error) = begun {
            self.not_begun(&error.to_string(), reporter);
        }
    }

    async fn ask(
        &self,
        preparation: Preparation,
        handle: &ClusterHandle,
    ) -> Result<RollTicket, RequestError> {
        let plan = RollPlan::default().surge(self.rule.surge).when_busy(WhenBusy::Refuse);
        match preparation {
            Preparation::Reload(found) => {
                let workers = self.scaled.unwrap_or(found.workers);
                handle.roll(plan.program(found.program).workers(workers)).await
            }
            Preparation::Restart(Seats::All) => handle.roll(plan).await,
            Preparation::Restart(Seats::One(slot)) => handle.restart(slot).await,
        }
    }

    fn not_begun(&mut self, why: &str, reporter: &Reporter) {
        reporter.reload_failed(why);
        self.ended(&Update::Refused { reason: why.to_owned() });
    }

    /// The app is over. Whoever still waits is told so.
    pub(crate) fn refuse(&mut self) {
        self.state = State::Idle;
        self.watching.append(self.waiting.clear());
        self.tell_end(&Update::Refused { reason: STOPPING.to_owned() });
    }

    fn tell(&self, update: &Update) {
        self.watching.iter().for_each(|watcher| watcher.tell(update.clone()));
    }

    fn tell_end(&mut self, update: &Update) {
        self.tell(update);
        self.watching = Watchers::default();
        self.last = Some(update.clone());
    }

    /// Takes note of how far it has come.
    /// Rolls that somebody else wants of the primary are not its own.
    pub(crate) fn event(&mut self, event: &Event) {
        if !matches!(self.state, State::Rolling) {
            return;
        }
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
                self.watching.append(self.waiting.clear());
                self.tell_end(&stopped());
            }
            _ => {}
        }
    }

    fn ended(&mut self, how: &Update) {
        self.steps.clear();
        self.tell_end(how);
        self.begin_next();
    }

    fn begin_next(&mut self) {
        self.state = State::Idle;
        if let Some((wanted, watchers)) = self.waiting.next() {
            self.watching = watchers;
            self.prepare(wanted);
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
