//! One running app: what happens in it, and what its operator wants.

use std::process::ExitCode;
use std::time::Duration;

use forkyard::{Cluster, ClusterHandle, Event, Outcome, Stage};
use forkyard_control::server::{Watcher, Wish};

use crate::boot::{Boot, Pulse, Watchdog};
use crate::exit_code::{Failure, number_of};
use crate::keys::{Key, Keys};
use crate::note::Note;
use crate::reload::{REMINDER, Reloads};
use crate::report::Reporter;
use crate::run::Desk;
use crate::signals::{self, Instruction, Signals};
use crate::upgrade::Upgrade;

/// How long the command's own lines may take to be written before an upgrade. The primary
/// gives an upgrade up a second earlier if it cannot come to rest.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

/// The app is over.
pub(crate) struct Ended {
    pub(crate) code: ExitCode,
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
    let (upgrade, next_stop) = (Upgrade::default(), Stage::Disconnect);
    Watch { handle, desk, upgrade, keys, next_stop }.until_over(cluster, signals).await
}

/// Goes through what happens in an app, and through what its operator wants.
struct Watch<'a, 'd> {
    handle: ClusterHandle,
    desk: &'a mut Desk<'d>,
    upgrade: Upgrade,
    keys: Option<Keys>,
    /// How the next signal to stop is meant.
    next_stop: Stage,
}

impl Watch<'_, '_> {
    async fn until_over(
        mut self,
        cluster: &mut Cluster,
        signals: &mut Signals,
    ) -> Result<Ended, Failure> {
        let mut reminder = tokio::time::interval(REMINDER);
        let mut watchdog = Watchdog::find();
        loop {
            let Boot { herald, delay } = &mut self.desk.boot;
            // Signals that come then are for the next image. Whoever asks sees the connection end,
            // and knows that nothing was done.
            let goes_on = !self.upgrade.is_imminent();
            tokio::select! {
                event = cluster.next_event() => match event {
                    Some(Event::Over(outcome)) => return Ok(self.ended(&outcome).await),
                    Some(event) => self.happened(&event, signals).await,
                    None => return Err(primary_died()),
                },
                denied = self.upgrade.denied() => self.desk.reporter.upgrade_failed(&denied),
                instruction = signals.next(), if goes_on => self.obey(instruction).await,
                wish = self.desk.control.next(), if goes_on => self.grant(wish).await,
                Key::Reload = next_key(self.keys.as_mut()) => self.reload(None),
                planned = self.desk.reloads.planned(), if goes_on => {
                    self.desk.reloads.begin(planned, &self.handle, self.desk.reporter).await;
                }
                () = delay.over(), if goes_on => self.stop().await,
                () = herald.catch_up() => {}
                pulse = pulse(watchdog.as_mut(), &self.handle) => self.feel(pulse),
                _ = reminder.tick() => self.desk.reloads.remind(self.desk.reporter),
            }
        }
    }

    async fn ended(&mut self, outcome: &Outcome) -> Ended {
        self.upgrade.refuse().await;
        let code = number_of(outcome);
        self.desk.reporter.closing(outcome, code);
        self.desk.boot.herald.over(outcome, code);
        Ended { code: ExitCode::from(code), next_stop: self.next_stop }
    }

    async fn happened(&mut self, event: &Event, signals: &Signals) {
        let reporter = self.desk.reporter;
        reporter.event(event);
        self.desk.boot.herald.take_note(event, &self.handle).await;
        self.upgrade.take_note(event);
        self.desk.control.take_note(event);
        self.desk.reloads.event(event);
        match event {
            // The next image is to find the terminal as this one did.
            Event::Upgrading => self.keys = None,
            Event::UpgradeFailed { .. } if self.keys.is_none() => self.keys = read_keys(reporter),
            Event::Exited { .. } if signals.is_init() => {
                reap_after_worker(&self.handle, reporter).await;
            }
            _ => {}
        }
        if self.upgrade.is_imminent() {
            let stop_in = self.desk.boot.delay.left();
            let note = Note::new(self.desk.reloads.is_one_waiting(), stop_in);
            // A primary that has ended is noticed by its events.
            let _ = self.handle.leave_note(note.text()).await;
            self.desk.reloads.rest().await;
            // What is not written by then is lost with this image. Whoever does not read it
            // cannot keep signals from being obeyed.
            let _ = tokio::time::timeout(FLUSH_LIMIT, reporter.flush()).await;
        }
    }

    async fn obey(&mut self, instruction: Instruction) {
        match instruction {
            Instruction::Stop(signal) => match self.desk.boot.delay.put_off(signal) {
                Some(delay) => {
                    self.desk.reporter.stop_put_off(signal, delay);
                    self.desk.boot.herald.put_off(delay);
                }
                None => {
                    self.desk.reporter.signal(signal, self.next_stop);
                    self.stop().await;
                }
            },
            Instruction::Upgrade => self.ask_for_upgrade(None),
            Instruction::Reload => self.reload(None),
            Instruction::Forward(signal) => signals::forward(&self.handle, signal).await,
            Instruction::Reap => reap(self.desk.reporter),
        }
    }

    async fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Status(answer) => {
                let status =
                    self.desk.control.status(&self.handle, self.desk.reloads.shown()).await;
                // Whoever asked may have gone.
                drop(answer.send(status));
            }
            Wish::Reload(watcher) => self.reload(Some(watcher)),
            Wish::Follow(watcher) => self.desk.reloads.follow(watcher),
            Wish::Upgrade(watcher) => self.ask_for_upgrade(Some(watcher)),
        }
    }

    /// Stops, or hurries if it is stopping already.
    async fn stop(&mut self) {
        self.desk.boot.delay.end();
        // A primary that has ended is noticed by its events.
        let _ = self.handle.stop(self.next_stop).await;
        self.next_stop = self.next_stop.next();
    }

    /// Without a sign of life the manager does what it is told to do then.
    fn feel(&mut self, pulse: Pulse) {
        match pulse {
            Pulse::Beats => self.desk.boot.herald.alive(),
            Pulse::Missing => {
                self.desk.reporter.warning("the primary does not answer".to_owned());
            }
        }
    }

    fn reload(&mut self, watcher: Option<Watcher>) {
        match self.desk.boot.delay.is_on() {
            true => Reloads::deny(watcher, self.desk.reporter),
            false => self.desk.reloads.wanted(watcher, self.desk.reporter),
        }
    }

    fn ask_for_upgrade(&mut self, watcher: Option<Watcher>) {
        match self.desk.boot.delay.is_on() {
            true => Upgrade::deny(watcher, self.desk.reporter),
            false => self.upgrade.ask(watcher, &self.handle),
        }
    }
}

/// Without them there are still signals.
fn read_keys(reporter: &Reporter) -> Option<Keys> {
    Keys::start().unwrap_or_else(|error| {
        reporter.warning(format!("failed to read keys from the terminal: {error}"));
        None
    })
}

/// The next sign of life that is due, or is missing.
async fn pulse(watchdog: Option<&mut Watchdog>, handle: &ClusterHandle) -> Pulse {
    match watchdog {
        Some(watchdog) => watchdog.pulse(handle).await,
        None => std::future::pending().await,
    }
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
