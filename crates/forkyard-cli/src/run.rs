//! `forkyard run`: one app in the foreground.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use forkyard::{
    Cluster, ClusterBuilder, ClusterHandle, Event, IdleRule, InheritedFds, ListenAddress, Origin,
    Outcome, Output, ReadyRule, RequestError, RestartMode, RestartSettings, Stage,
};

use crate::args::{RollOptions, Run};
use crate::control::{Asked, Control};
use crate::exit_code::{Failure, number_of};
use crate::keys::{Key, Keys};
use crate::launch::Launch;
use crate::reload::{REMINDER, ReloadRule, Reloads};
use crate::report::{Opening, Reporter};
use crate::signals::{self, HeldSignals, Signals, Wish};
use crate::sink::Printer;
use crate::upgrade::Upgrade;

/// How long the command's own lines may take to be written before an upgrade. The primary
/// gives an upgrade up a second earlier if it cannot come to rest.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

/// How long whoever asked twice to stop waits for readers of the output.
const HURRIED_WAIT: Duration = Duration::from_secs(1);

/// Runs the app until it ends or is stopped.
pub(crate) fn run(
    run: &Run,
    inherited: InheritedFds,
    signals: HeldSignals,
    reporter: &Reporter,
) -> Result<ExitCode, Failure> {
    let launch = Launch::of(run)?;
    let plan = launch.plan()?;
    let opening = Opening {
        app: launch.name(),
        program: launch.shown(),
        workers: plan.workers.get(),
        policy: run.general_policy(),
    };
    let source = || launch.plan();
    let rule = ReloadRule { surge: run.roll.surge, second: run.roll.second_reload() };
    let staff = Staff { listen: &run.listen, workers: plan.workers, spares: run.roll.spares };
    let builder = settings(run)
        .program(plan.program)
        .output(Output::Lines(Box::new(Printer::new(run.log_format))))
        .inherited(inherited)
        .nofile_soft(raise_nofile_limit(reporter));
    let desk = Desk {
        reporter,
        reloads: Reloads::new(&source, rule),
        control: Control::of(&opening.app, run.control_rule()),
    };
    serve(builder, staff, signals, &opening, desk)
}

/// Room for as many connections as the system allows. Returns what workers get.
fn raise_nofile_limit(reporter: &Reporter) -> Option<u64> {
    forkyard_sys::process::raise_nofile_limit().unwrap_or_else(|error| {
        reporter.warning(format!(
            "failed to raise the limit of open files: {error}; connections beyond it wait"
        ));
        None
    })
}

fn settings(run: &Run) -> ClusterBuilder {
    let restart = RestartSettings {
        mode: RestartMode::Always,
        delay: run.restart_delay,
        max_delay: run.restart_max_delay,
        limit: run.restart_limit,
        window: run.restart_window,
        reset_after: run.restart_reset_after,
        done_codes: run.no_restart_codes.clone(),
    };
    let builder = Cluster::builder()
        .serialization(run.serialization)
        .restart(restart)
        .when_idle(IdleRule::Finish)
        .drain_timeout(run.drain_timeout)
        .term_timeout(run.term_timeout)
        .upgrade_timeout(run.upgrade_timeout);
    let builder = match run.start_timeout {
        Some(limit) => builder.start_timeout(limit),
        None => builder,
    };
    let builder = if run.pin { builder.pin_workers() } else { builder };
    let builder = roll_settings(builder, &run.roll).ready(ready_rule(run));
    run.policies().into_iter().fold(builder, ClusterBuilder::policy_rule)
}

fn roll_settings(builder: ClusterBuilder, roll: &RollOptions) -> ClusterBuilder {
    let builder =
        builder.ready_timeout(roll.ready_timeout).settle(roll.settle).drain_grace(roll.drain_grace);
    let builder = roll.check().into_iter().fold(builder, ClusterBuilder::check);
    match roll.shutdown_message {
        true => builder.drain_message("shutdown"),
        false => builder,
    }
}

/// Nobody sees a worker listen on what it has inherited.
fn ready_rule(run: &Run) -> ReadyRule {
    let unsaid = if run.listen.is_empty() { ReadyRule::Listening } else { ReadyRule::Started };
    run.roll.ready_rule().unwrap_or(unsaid)
}

/// How many workers there shall be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Staff<'a> {
    /// What they are started with.
    pub(crate) listen: &'a [ListenAddress],
    pub(crate) workers: NonZeroUsize,
    pub(crate) spares: usize,
}

/// Where an operator's wishes arrive, besides by signals and keys, and where he is told things.
pub(crate) struct Desk<'a> {
    pub(crate) reporter: &'a Reporter,
    pub(crate) reloads: Reloads<'a>,
    pub(crate) control: Control,
}

impl Desk<'_> {
    async fn answer(&mut self, asked: Asked, upgrade: &mut Upgrade, handle: &ClusterHandle) {
        match asked {
            // Whoever asked may have gone.
            Asked::Status(answer) => drop(answer.send(self.control.status(handle).await)),
            Asked::Reload(watcher) => {
                self.reloads.wanted(Some(watcher), handle, self.reporter).await;
            }
            Asked::Upgrade(watcher) => upgrade.ask(Some(watcher), handle),
        }
    }
}

/// Starts the primary and its workers, reports what happens, and obeys signals.
pub(crate) fn serve(
    builder: ClusterBuilder,
    staff: Staff<'_>,
    signals: HeldSignals,
    opening: &Opening,
    mut desk: Desk<'_>,
) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unexpected("failed to start", &error))?;
    runtime.block_on(async {
        let signals = Signals::listen(signals);
        let mut signals =
            signals.map_err(|error| Failure::unexpected("failed to listen for signals", &error))?;
        let mut cluster =
            builder.start().map_err(|error| Failure::unexpected("failed to start", &error))?;
        desk.control.open(desk.reporter);
        let ended = match cluster.origin() {
            Origin::Fresh => {
                desk.reporter.opening(opening);
                supervise(&mut cluster, staff, &mut signals, &mut desk).await
            }
            Origin::TakenOver { rolling } => {
                desk.reloads.take_over(rolling);
                watch(&mut cluster, &mut signals, &mut desk).await
            }
        };
        desk.control.refuse();
        leave(&cluster, &ended, &mut signals, desk.reporter).await;
        desk.control.finish().await;
        ended.map(|ended| ended.code)
    })
}

/// The app is over.
struct Ended {
    code: ExitCode,
    /// How the next signal would have hurried it.
    next_stop: Stage,
}

async fn supervise(
    cluster: &mut Cluster,
    staff: Staff<'_>,
    signals: &mut Signals,
    desk: &mut Desk<'_>,
) -> Result<Ended, Failure> {
    let handle = cluster.handle();
    for address in staff.listen {
        let bound = handle.listen(address.clone()).await;
        bound.map_err(|error| Failure::unexpected("failed to start", &error))?;
    }
    for _ in 0..staff.workers.get() {
        handle.fork().await.map_err(not_forked)?;
    }
    for _ in 0..staff.spares {
        handle.fork_spare().await.map_err(not_forked)?;
    }
    watch(cluster, signals, desk).await
}

fn not_forked(error: RequestError) -> Failure {
    Failure::unexpected("failed to fork a worker", &error)
}

async fn watch(
    cluster: &mut Cluster,
    signals: &mut Signals,
    desk: &mut Desk<'_>,
) -> Result<Ended, Failure> {
    let (handle, reporter) = (cluster.handle(), desk.reporter);
    let mut next_stop = Stage::Disconnect;
    let mut upgrade = Upgrade::default();
    let mut reminder = tokio::time::interval(REMINDER);
    let mut keys = read_keys(reporter);
    loop {
        tokio::select! {
            event = cluster.next_event() => match event {
                Some(Event::Over(outcome)) => {
                    return Ok(Ended { code: close(reporter, &outcome), next_stop });
                }
                Some(event) => {
                    reporter.event(&event);
                    upgrade.take_note(&event);
                    desk.control.take_note(&event);
                    match (&event, &keys) {
                        // The next image is to find the terminal as this one did.
                        (Event::Upgrading, _) => keys = None,
                        (Event::UpgradeFailed { .. }, None) => keys = read_keys(reporter),
                        _ => {}
                    }
                    desk.reloads.event(&event, &handle, reporter).await;
                    if signals.is_init() && matches!(event, Event::Exited { .. }) {
                        reap_after_worker(&handle, reporter).await;
                    }
                    if upgrade.is_imminent() {
                        // What is not written by then is lost with this image. Whoever does
                        // not read it cannot keep signals from being obeyed.
                        let _ = tokio::time::timeout(FLUSH_LIMIT, reporter.flush()).await;
                    }
                }
                None => return Err(primary_died()),
            },
            denied = upgrade.denied() => reporter.upgrade_failed(&denied),
            // Signals that come now are for the next image. Whoever asks now sees the connection
            // end, and knows that nothing was done.
            wish = signals.next(), if !upgrade.is_imminent() => match wish {
                Wish::Stop(signal) => {
                    // A primary that has ended is noticed by its events.
                    let _ = handle.stop(next_stop).await;
                    reporter.signal(signal, next_stop);
                    next_stop = next_stop.next();
                }
                Wish::Upgrade => upgrade.ask(None, &handle),
                Wish::Reload => desk.reloads.wanted(None, &handle, reporter).await,
                Wish::Forward(signal) => signals::forward(&handle, signal).await,
                Wish::Reap => reap(reporter),
            },
            asked = desk.control.next(), if !upgrade.is_imminent() => {
                desk.answer(asked, &mut upgrade, &handle).await;
            }
            Key::Reload = next_key(keys.as_mut()) => {
                desk.reloads.wanted(None, &handle, reporter).await;
            }
            _ = reminder.tick() => desk.reloads.remind(reporter),
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

async fn next_key(keys: Option<&mut Keys>) -> Key {
    match keys {
        Some(keys) => keys.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for whoever reads what was written, as any program does; but not against the will
/// of whoever stops it.
async fn leave(
    cluster: &Cluster,
    ended: &Result<Ended, Failure>,
    signals: &mut Signals,
    reporter: &Reporter,
) {
    let passed_on = async {
        // A cluster that failed may never be over.
        if ended.is_ok() {
            cluster.output_drained().await;
        }
        reporter.finish().await;
    };
    let hurried = ended.as_ref().is_ok_and(|ended| ended.next_stop > Stage::Terminate);
    let patience = async {
        match hurried {
            true => tokio::time::sleep(HURRIED_WAIT).await,
            false => std::future::pending().await,
        }
    };
    tokio::select! {
        () = passed_on => {}
        () = patience => {}
        () = signals.stop() => {}
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

fn close(reporter: &Reporter, outcome: &Outcome) -> ExitCode {
    let code = number_of(outcome);
    reporter.closing(outcome, code);
    ExitCode::from(code)
}

fn primary_died() -> Failure {
    let cause = std::io::Error::other("its thread ended without saying why");
    Failure::unexpected("the primary failed", &cause)
}
