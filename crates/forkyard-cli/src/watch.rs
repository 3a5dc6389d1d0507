//! One running app: what happens in it, and what its operator wants.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use forkyard::{Cluster, ClusterHandle, Event, Outcome, SlotId, Stage};
use forkyard_control::server::{Answer, Watcher, Wish};
use forkyard_control::types;

use crate::control::signal;
use crate::exit_code::{Failure, number_of};
use crate::footprint::Footprint;
use crate::keys::{Key, Keys};
use crate::reload::{REMINDER, Seats, Wanted};
use crate::report::Reporter;
use crate::run::Desk;
use crate::scale::Scaling;
use crate::signals::{self, Instruction, Signals};
use crate::triggers::Cause;
use crate::upgrade::Upgrade;

/// How long the command's own lines may take to be written before an upgrade. The primary
/// gives an upgrade up a second earlier if it cannot come to rest.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

/// The app is over.
pub(crate) struct Ended {
    /// The exit code.
    pub(crate) code: u8,
    pub(crate) outcome: Outcome,
    /// The last lines of the worker whose end was one too many.
    pub(crate) stderr_tail: Vec<String>,
    /// How the next signal would have hurried it.
    pub(crate) next_stop: Stage,
}

/// Follows an app until it is over.
pub(crate) async fn watch(
    cluster: &mut Cluster,
    signals: &mut Signals,
    desk: &mut Desk<'_>,
) -> Result<Ended, Failure> {
    let (handle, keys) = (cluster.handle(), read_keys(desk.reporter));
    desk.triggers.start(desk.reporter);
    let watch = Watch {
        handle,
        desk,
        upgrade: Upgrade::default(),
        scaling: Scaling::default(),
        footprint: Footprint::default(),
        keys,
        next_stop: Stage::Disconnect,
        stderr_tail: Vec::new(),
    };
    watch.until_over(cluster, signals).await
}

/// Goes through what happens in an app, and through what its operator wants.
struct Watch<'a, 'd> {
    handle: ClusterHandle,
    desk: &'a mut Desk<'d>,
    upgrade: Upgrade,
    scaling: Scaling,
    footprint: Footprint,
    keys: Option<Keys>,
    /// How the next signal to stop is meant.
    next_stop: Stage,
    /// The last lines of the worker whose end was one too many.
    stderr_tail: Vec<String>,
}

impl Watch<'_, '_> {
    async fn until_over(
        mut self,
        cluster: &mut Cluster,
        signals: &mut Signals,
    ) -> Result<Ended, Failure> {
        let mut reminder = tokio::time::interval(REMINDER);
        loop {
            // Signals that come then are for the next image. Whoever asks sees the connection end,
            // and knows that nothing was done.
            let goes_on = !self.upgrade.is_imminent();
            tokio::select! {
                event = cluster.next_event() => match event {
                    Some(Event::Over(outcome)) => return Ok(self.ended(outcome).await),
                    Some(event) => self.happened(&event, signals).await,
                    None => return Err(primary_died()),
                },
                denied = self.upgrade.denied() => self.desk.reporter.upgrade_failed(&denied),
                instruction = signals.next(), if goes_on => self.obey(instruction).await,
                wish = self.desk.control.next(), if goes_on => self.grant(wish).await,
                Key::Reload = next_key(self.keys.as_mut()) => self.roll(Wanted::Reload, None),
                prepared = self.desk.reloads.prepared(), if goes_on => {
                    self.desk.reloads.begin(prepared, &self.handle, self.desk.reporter).await;
                }
                cause = self.desk.triggers.next(self.desk.reporter), if goes_on => {
                    self.reload_because(&cause);
                }
                () = self.desk.limits.due(), if goes_on => {
                    self.desk.limits.look(&self.handle, self.desk.reporter).await;
                }
                _ = reminder.tick() => {
                    self.desk.reloads.remind(self.desk.reporter);
                    self.footprint.tick();
                }
            }
        }
    }

    async fn ended(mut self, outcome: Outcome) -> Ended {
        self.upgrade.refuse().await;
        self.scaling.refuse();
        let code = number_of(&outcome);
        self.desk.reporter.closing(&outcome, code);
        Ended { code, outcome, stderr_tail: self.stderr_tail, next_stop: self.next_stop }
    }

    async fn happened(&mut self, event: &Event, signals: &Signals) {
        let reporter = self.desk.reporter;
        self.footprint.grow();
        reporter.event(event);
        self.desk.limits.event(event, reporter);
        self.upgrade.take_note(event);
        self.desk.control.take_note(event);
        self.desk.reloads.event(event);
        self.scaling.event(event);
        match event {
            // The next image is to find the terminal as this one did.
            Event::Failed { stderr_tail, .. } => self.stderr_tail.clone_from(stderr_tail),
            Event::Upgrading => {
                self.keys = None;
                // The next image finds it waiting.
                if let Some(cause) = self.desk.triggers.rest() {
                    self.reload_because(&cause);
                }
            }
            Event::UpgradeFailed { .. } => {
                self.desk.triggers.start(reporter);
                if self.keys.is_none() {
                    self.keys = read_keys(reporter);
                }
            }
            Event::Exited { .. } if signals.is_init() => {
                reap_after_worker(&self.handle, reporter).await;
            }
            _ => {}
        }
        if self.upgrade.is_imminent() {
            self.rest().await;
            // What is not written by then is lost with this image. Whoever does not read it
            // cannot keep signals from being obeyed.
            let _ = tokio::time::timeout(FLUSH_LIMIT, reporter.flush()).await;
        }
    }

    /// The next image may go on any moment.
    async fn rest(&mut self) {
        let note = self.desk.control.note(self.desk.reloads.note());
        // A primary that has ended is noticed by its events.
        let _ = self.handle.leave_note(note.write()).await;
        self.desk.reloads.rest().await;
    }

    async fn obey(&mut self, instruction: Instruction) {
        match instruction {
            Instruction::Stop(signal) => {
                // A primary that has ended is noticed by its events.
                let _ = self.handle.stop(self.next_stop).await;
                self.desk.reporter.signal(signal, self.next_stop);
                self.next_stop = self.next_stop.next();
            }
            Instruction::Upgrade => self.upgrade.ask(None, &self.handle),
            Instruction::Reload => self.roll(Wanted::Reload, None),
            Instruction::Forward(signal) => signals::forward(&self.handle, signal).await,
            Instruction::Reap => reap(self.desk.reporter),
        }
    }

    async fn grant(&mut self, wish: Wish) {
        self.footprint.grow();
        match wish {
            Wish::Status(answer) => {
                let shown = self.desk.reloads.shown();
                give(answer, self.desk.control.status(&self.handle, shown).await);
            }
            Wish::Events(answer) => {
                let shown = self.desk.reloads.shown();
                give(answer, self.desk.control.following(&self.handle, shown).await);
            }
            Wish::Reload(watcher) => self.roll(Wanted::Reload, Some(watcher)),
            Wish::Restart(slot, watcher) => {
                let seats = slot.map_or(Seats::All, |slot| Seats::One(SlotId(slot)));
                self.roll(Wanted::Restart(seats), Some(watcher));
            }
            Wish::Follow(watcher) => self.desk.reloads.follow(watcher),
            Wish::Upgrade(watcher) => self.upgrade.ask(Some(watcher), &self.handle),
            Wish::Scale(workers, watcher) => self.scale(workers, watcher).await,
            Wish::Stop(stage, answer) => {
                self.stop(stage).await;
                give(answer, ());
            }
            Wish::Signal(request, answer) => give(answer, signal(&self.handle, &request).await),
            Wish::FlushLogs(answer) => {
                let flushing = self.desk.belongings.flush_logs();
                // Disks may be slow. It ends by itself, and nobody waits for it.
                tokio::spawn(async { give(answer, flushing.await) });
            }
            Wish::Settings(secrets, answer) => {
                give(answer, self.desk.belongings.settings(secrets));
            }
        }
    }

    fn roll(&mut self, wanted: Wanted, watcher: Option<Watcher>) {
        self.desk.reloads.wanted(wanted, watcher, self.desk.reporter);
    }

    fn reload_because(&mut self, cause: &Cause) {
        self.desk.reporter.reload_wanted(cause);
        self.roll(Wanted::Reload, None);
    }

    async fn scale(&mut self, workers: NonZeroU32, watcher: Watcher) {
        let workers = NonZeroUsize::try_from(workers).unwrap_or(NonZeroUsize::MAX);
        if self.scaling.wanted(workers, watcher, &self.handle).await.is_ok() {
            self.desk.reloads.scaled(workers);
        }
    }

    /// By the control socket. A signal after it hurries.
    async fn stop(&mut self, stage: types::Stage) {
        let stage = match stage {
            types::Stage::Disconnect => Stage::Disconnect,
            types::Stage::Terminate => Stage::Terminate,
            types::Stage::Kill => Stage::Kill,
        };
        self.desk.reporter.stop_wanted(stage);
        // A primary that has ended is noticed by its events.
        let _ = self.handle.stop(stage).await;
        self.next_stop = self.next_stop.max(stage.next());
    }
}

/// Whoever asked may have gone.
fn give<T>(answer: Answer<T>, what: T) {
    drop(answer.send(what));
}

/// Without them there are still signals.
fn read_keys(reporter: &Reporter) -> Option<Keys> {
    Keys::start().unwrap_or_else(|error| {
        reporter.warning(format!("failed to read keys from the terminal: {error}"));
        None
    })
}

async fn next_key(keys: Option<&mut Keys>) -> Key {
    match keys {
        Some(keys) => keys.next().await,
        None => std::future::pending().await,
    }
}

/// A worker that had not been reaped may have hidden orphans behind it.
async fn reap_after_worker(handle: &ClusterHandle, reporter: &Reporter) {
    // Once it answers, the primary is done with the worker, and it is reaped.
    let _ = handle.workers().await;
    reap(reporter);
}

fn reap(reporter: &Reporter) {
    if let Err(error) = signals::reap() {
        reporter.warning(format!("failed to reap orphans: {error}"));
    }
}

fn primary_died() -> Failure {
    let cause = std::io::Error::other("its thread ended without saying why");
    Failure::unexpected("the primary failed", &cause)
}
