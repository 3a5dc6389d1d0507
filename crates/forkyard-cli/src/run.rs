//! `forkyard run`: one app in the foreground.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use forkyard::{
    ActivatedSockets, Cluster, ClusterBuilder, IdleRule, InheritedFds, ListenAddress, Origin,
    Output, ReadyRule, RequestError, RestartMode, RestartSettings, Stage,
};

use forkyard_control::folder::runtime_dir;

use crate::args::{RollOptions, Run};
use crate::boot::{self, Boot};
use crate::control::Control;
use crate::exit_code::Failure;
use crate::launch::Launch;
use crate::note::Note;
use crate::planning::Source;
use crate::reload::{ReloadRule, Reloads};
use crate::report::{Opening, Reporter};
use crate::signals::{HeldSignals, Signals};
use crate::sink::Printer;
use crate::watch::{Ended, watch};

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
    let opening =
        Opening { app: launch.name(), program: launch.shown(), policy: run.general_policy() };
    // What is there already needs nothing that may be gone from the disk by now.
    let activated = ActivatedSockets::find(&inherited);
    let (plan, listen) = match forkyard::is_upgrade() {
        true => (None, Vec::new()),
        false => {
            let listen = boot::resolve(&run.listen, &inherited, &activated)?;
            (Some(launch.plan()?), listen)
        }
    };
    let source: Source = Arc::new(move || launch.plan());
    let rule = ReloadRule { surge: run.roll.surge, second: run.roll.second_reload() };
    let (listen, spares) = (&*listen, run.roll.spares);
    let staff = plan.as_ref().map(|plan| Staff { listen, workers: plan.workers, spares });
    let builder = settings(run)
        .output(Output::Lines(Box::new(Printer::new(run.log_format))))
        .inherited(inherited)
        .activated(activated)
        .notify_dir(runtime_dir())
        .nofile_soft(raise_nofile_limit(reporter));
    let builder = plan.into_iter().fold(builder, |builder, plan| builder.program(plan.program));
    let desk = Desk {
        reporter,
        reloads: Reloads::new(source, rule),
        control: Control::of(&opening.app, run.control_rule()),
        boot: Boot::of(run.boot_rule(), reporter),
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
    pub(crate) reloads: Reloads,
    pub(crate) control: Control,
    pub(crate) boot: Boot,
}

/// Starts the primary and its workers, reports what happens, and obeys signals. Without a staff
/// it goes on with the one that is there.
pub(crate) fn serve(
    builder: ClusterBuilder,
    staff: Option<Staff<'_>>,
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
        let ended = match (cluster.origin(), staff) {
            (Origin::Fresh, Some(staff)) => {
                desk.reporter.opening(opening, staff.workers);
                supervise(&mut cluster, staff, &mut signals, &mut desk).await
            }
            (Origin::TakenOver { rolling }, _) => {
                let note = Note::read(cluster.note());
                desk.reloads.take_over(rolling, note);
                desk.boot.herald.go_on(rolling, &cluster.handle()).await;
                if let Some(left) = note.stop_in() {
                    desk.boot.delay.resume(left);
                    desk.boot.herald.put_off(left);
                }
                watch(&mut cluster, &mut signals, &mut desk).await
            }
            (Origin::Fresh, None) => Err(nobody_there()),
        };
        desk.control.refuse();
        desk.reloads.refuse();
        leave(&cluster, &ended, &mut signals, desk.reporter).await;
        desk.control.finish().await;
        ended.map(|ended| ended.code)
    })
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
    handle.fork_many(staff.workers).await.map_err(not_forked)?;
    for _ in 0..staff.spares {
        handle.fork_spare().await.map_err(not_forked)?;
    }
    watch(cluster, signals, desk).await
}

fn not_forked(error: RequestError) -> Failure {
    Failure::unexpected("failed to fork a worker", &error)
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

fn nobody_there() -> Failure {
    let cause = std::io::Error::other("there was nothing to take over");
    Failure::unexpected("failed to start", &cause)
}
