//! `forkyard signal`: a signal for workers.

use std::process::ExitCode;

use clap::Parser;

use super::Targets;
use crate::answers::broken_off;
use crate::exit_code::Failure;

/// What `forkyard signal` can be told.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Signal {
    /// Its name or number, as in SIGUSR1, usr1 or 10
    signal: String,

    #[command(flatten)]
    pub(crate) targets: Targets,

    /// Only to the worker in this slot
    #[arg(long, value_name = "N")]
    slot: Option<u32>,
}

/// Sends it to the workers of each app.
pub(crate) fn signal(options: &Signal) -> Result<ExitCode, Failure> {
    options.targets.each(async |app, answers| {
        let sent = app.running()?.signal(&options.signal, options.slot).await;
        let sent = sent.map_err(|error| broken_off("failed to send a signal", &error))?;
        let pids: Vec<_> = sent.workers.iter().map(|worker| worker.pid.to_string()).collect();
        let text = match pids.is_empty() {
            true => format!("there is no worker to get {}", options.signal),
            false => format!("{} sent to {}", options.signal, pids.join(", ")),
        };
        answers.print(&sent, &text);
        Ok(())
    })
}
