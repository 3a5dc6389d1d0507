//! `forkyard run`: one app in the foreground.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use forkyard::{
    Cluster, ClusterBuilder, Event, IdleRule, InheritedFds, Outcome, Output, RestartMode,
    RestartSettings, Stage,
};

use crate::args::Run;
use crate::exit_code::{Failure, number_of};
use crate::launch::Launch;
use crate::report::{Opening, Reporter};
use crate::signals::{self, Signals, Wish};
use crate::sink::Printer;

/// Runs the app until it ends or is stopped.
pub(crate) fn run(run: &Run, inherited: InheritedFds) -> Result<ExitCode, Failure> {
    let launch = Launch::of(run)?;
    let reporter = Reporter::new(run.log_format);
    let opening = Opening {
        app: launch.name.clone(),
        program: launch.shown.clone(),
        workers: run.workers.get(),
        policy: run
            .policy
            .iter()
            .rev()
            .find(|rule| rule.listener.is_none())
            .map_or(forkyard::Policy::RoundRobin, |rule| rule.policy),
    };
    let nofile_soft = forkyard_sys::process::raise_nofile_limit().unwrap_or_default();
    let builder = settings(run)
        .program(launch.program)
        .output(Output::Lines(Box::new(Printer::new(run.log_format))))
        .inherited(inherited)
        .nofile_soft(nofile_soft);
    serve(builder, run.workers, &reporter, &opening)
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
        .disconnect_timeout(run.disconnect_timeout)
        .term_timeout(run.term_timeout);
    let builder = match run.start_timeout {
        Some(limit) => builder.start_timeout(limit),
        None => builder,
    };
    run.policy.iter().cloned().fold(builder, ClusterBuilder::policy_rule)
}

/// Starts the primary and its workers, reports what happens, and obeys signals.
pub(crate) fn serve(
    builder: ClusterBuilder,
    workers: NonZeroUsize,
    reporter: &Reporter,
    opening: &Opening,
) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unexpected("failed to start", &error))?;
    runtime.block_on(async {
        let signals = Signals::listen();
        let signals =
            signals.map_err(|error| Failure::unexpected("failed to listen for signals", &error))?;
        let cluster =
            builder.start().map_err(|error| Failure::unexpected("failed to start", &error))?;
        reporter.opening(opening);
        for _ in 0..workers.get() {
            let forked = cluster.fork().await;
            forked.map_err(|error| Failure::unexpected("failed to fork a worker", &error))?;
        }
        watch(cluster, signals, reporter).await
    })
}

async fn watch(
    mut cluster: Cluster,
    mut signals: Signals,
    reporter: &Reporter,
) -> Result<ExitCode, Failure> {
    let handle = cluster.handle();
    let mut next_stop = Stage::Disconnect;
    loop {
        tokio::select! {
            event = cluster.next_event() => match event {
                Some(Event::Over(outcome)) => return Ok(close(reporter, &outcome)),
                Some(event) => reporter.event(&event),
                None => return Err(primary_died()),
            },
            wish = signals.next() => match wish {
                Wish::Stop(signal) => {
                    reporter.signal(signal, next_stop);
                    // A primary that has ended is noticed by its events.
                    let _ = handle.stop(next_stop).await;
                    next_stop = next_stop.next();
                }
                Wish::Forward(signal) => signals::forward(&handle, signal).await,
                Wish::Reap => signals::reap(),
            },
        }
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
