//! From the end of the only worker to the port answering again.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::contestant::{App, Files, Setup};
use super::probe;
use crate::client::{Client, Reuse};
use crate::program::Program;
use crate::tools::{self, Peers};

/// How long the bare program may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// The bare start: from starting plain Node with the program to its first answer.
pub(crate) fn bare_start(peers: &Peers, port: u16) -> Result<Duration> {
    let mut command = Command::new(&peers.node);
    command.arg(tools::program("plain.js")).env("PORT", port.to_string());
    let began = Instant::now();
    let program = Program::start(&mut command)?;
    let answer = probe::first_answer(port, began, None)?;
    program.stop(Signal::KILL, STOP_LIMIT)?;
    Ok(answer.after)
}

/// Kills the only worker of an app that has just been started, and waits for an answer from
/// another one. An app of its own for each crash: later ones might be restarted with a delay.
pub(crate) fn until_answer(setup: Setup, files: &Files, port: u16) -> Result<Duration> {
    ensure!(setup.workers == 1, "a second worker would answer at once");
    let mut app = App::start(setup, files, port)?;
    app.wait_for_spares()?;
    let worker = *app.workers().first().context("an app without workers")?;
    let pid = Pid::from_raw(worker).context("failed to make sense of a process id")?;
    let process = pidfd_open(pid, PidfdFlags::empty()).context("failed to watch a worker")?;
    // It was the worker that was opened, if it is still there to answer.
    let answered = Client::new(port, Reuse::Close).ask("/who");
    ensure!(answered == Ok(worker), "instead of worker {worker} came {answered:?}");
    let began = Instant::now();
    pidfd_send_signal(&process, Signal::KILL).context("failed to kill a worker")?;
    let answer = probe::first_answer(port, began, Some(worker))?;
    if setup.spares > 0 {
        app.wait_for("spare_promoted")?;
    }
    app.stop()?;
    Ok(answer.after)
}
