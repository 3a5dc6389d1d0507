//! `forkyard run`: one app in the foreground.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use forkyard::{
    ActivatedSockets, Cluster, ClusterBuilder, Dialect, IdleRule, InheritedFds, ListenAddress,
    Origin, Output, ReadyRule, RequestError, Stage,
};

use forkyard_control::folder::{runtime_dir, visible_dir};

use crate::args::Run;
use crate::belongings::{Belongings, Own};
use crate::boot::{self, Boot};
use crate::control::Control;
use crate::exit_code::Failure;
use crate::launch::Launch;
use crate::limits::{AppGroup, Limits};
use crate::logs;
use crate::note::Note;
use crate::planning::Source;
use crate::reload::{ReloadRule, Reloads};
use crate::report::{Opening, Reporter};
use crate::settings::App;
use crate::signals::{HeldSignals, Signals};
use crate::subject::Subject;
use crate::triggers::Triggers;
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
    let subject = Subject::of(run)?;
    if run.detached {
        // Whoever leads a session already is nobody's shell's.
        let _ = rustix::process::setsid();
    }
    let ended = subject
        .first_launch(reporter)
        .and_then(|launch| run_launch(run, &subject, &launch, inherited, signals, reporter));
    subject.ended(&ended, reporter);
    ended.map(|ended| ExitCode::from(ended.code))
}

fn run_launch(
    run: &Run,
    subject: &Subject,
    launch: &Launch,
    inherited: InheritedFds,
    signals: HeldSignals,
    reporter: &Reporter,
) -> Result<Ended, Failure> {
    let app = launch.app();
    let opening = Opening {
        app: launch.name().to_owned(),
        program: launch.shown(),
        policy: app.general_policy(),
    };
    let limits = app.limit_rules();
    let activated = ActivatedSockets::find(&inherited);
    // What is there already needs nothing that may be gone from the disk by now.
    let (plan, listen, group) = match forkyard::is_upgrade() {
        true => (None, Vec::new(), AppGroup::find(&opening.app, &limits)),
        false => {
            let listen = boot::resolve(&app.listen, &inherited, &activated)?;
            let plan = launch.plan()?;
            let group = AppGroup::make(&opening.app, &limits, reporter);
            (Some(plan.housed(&group)), listen, group)
        }
    };
    let (planned, house) = (subject.clone(), group.clone());
    let source: Source = Arc::new(move || Ok(planned.launch()?.plan()?.housed(&house)));
    let triggers = Triggers::new(app.trigger_rules(), launch.directory());
    let rule = ReloadRule { surge: app.roll.surge(), second: app.roll.second_reload() };
    let (listen, spares) = (&*listen, app.roll.spares());
    let staff = plan.as_ref().map(|plan| Staff { listen, workers: plan.workers, spares });
    let rules = subject.log_rules(launch)?;
    let builder = settings(app)
        .output(Output::Lines(logs::open(&rules, &opening.app, reporter)?))
        .inherited(inherited)
        .activated(activated)
        .notify_dir(runtime_dir())
        .visible_notify_dir(visible_dir())
        .nofile_soft(raise_nofile_limit(reporter));
    let builder = plan.into_iter().fold(builder, |builder, plan| builder.program(plan.program));
    let desk = Desk {
        reporter,
        reloads: Reloads::new(source, rule),
        limits: Limits::new(&limits, group),
        control: Control::of(&opening.app, run.control_rule(), reporter),
        belongings: Box::new(Own::of(app.clone(), &rules)),
        triggers,
        boot: Boot::of(app.boot_rule(), reporter),
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

fn settings(app: &App) -> ClusterBuilder {
    let serialization = app.serialization.as_ref().map_or(Dialect::Json, |dialect| dialect.value);
    let builder = Cluster::builder()
        .serialization(serialization)
        .restart(app.restart.rules())
        .when_idle(IdleRule::Finish)
        .drain_timeout(app.drain.timeout())
        .term_timeout(app.drain.term_timeout())
        .drain_grace(app.drain.grace())
        .ready(ready_rule(app))
        .ready_timeout(app.ready.timeout())
        .stop_signal(app.drain.stop_signal())
        .settle(app.ready.settle());
    let builder =
        app.start_timeout.iter().fold(builder, |builder, limit| builder.start_timeout(limit.value));
    let builder = app
        .upgrade_timeout
        .iter()
        .fold(builder, |builder, limit| builder.upgrade_timeout(limit.value));
    let builder = app.ready.check().into_iter().fold(builder, ClusterBuilder::check);
    let builder = app.drain.message().into_iter().fold(builder, ClusterBuilder::drain_message);
    let builder = if app.pin { builder.pin_workers() } else { builder };
    app.policies().into_iter().fold(builder, ClusterBuilder::policy_rule)
}

/// Nobody sees a worker listen on what it has inherited.
fn ready_rule(app: &App) -> ReadyRule {
    let unsaid = if app.listen.is_empty() { ReadyRule::Listening } else { ReadyRule::Started };
    app.ready.rule().unwrap_or(unsaid)
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
    pub(crate) limits: Limits,
    pub(crate) belongings: Box<dyn Belongings>,
    pub(crate) triggers: Triggers,
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
) -> Result<Ended, Failure> {
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
                desk.limits.take_over(rolling.is_some());
                let note = Note::read(cluster.note());
                desk.control.take_over(&note);
                desk.reloads.take_over(rolling, &note);
                desk.boot.go_on(rolling, &note, &cluster.handle()).await;
                watch(&mut cluster, &mut signals, &mut desk).await
            }
            (Origin::Fresh, None) => Err(nobody_there()),
        };
        desk.control.refuse();
        desk.reloads.refuse();
        leave(&cluster, &ended, &mut signals, desk.reporter).await;
        desk.control.finish().await;
        desk.limits.finish().await;
        ended
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
