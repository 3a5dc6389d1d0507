//! From the end of the only worker to the port answering again.

use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::contestant::{App, Files, Setup};
use super::probe;
use crate::client::{Client, Reuse};
use crate::interrupt::{self, Waited};
use crate::program::Program;
use crate::tools::{self, Peers};

/// How long Node may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long the bare program may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How long a worker that was killed may take to be gone.
const EXIT_LIMIT: Duration = Duration::from_secs(20);

/// How long it took, from starting the program or killing its process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// Until the first answer.
    pub(crate) answer: Duration,
    /// Until the system reported that the killed process had ended, which is the first that
    /// its parent can learn of it. `None` if none was killed.
    pub(crate) exit: Option<Duration>,
}

/// A Node that does nothing. One runs beside whatever is measured here, because Node's own
/// primary is one too: the system takes a process apart faster while another one has the same
/// program mapped.
pub(crate) fn idle_node(peers: &Peers) -> Result<Program> {
    let mut command = Command::new(&peers.node);
    command.args(["--eval", "setInterval(() => {}, 1e9); console.log('up')"]);
    let mut program = Program::start(&mut command)?;
    program.wait_for_line(START_LIMIT, |line| (line == "up").then_some(()))?;
    Ok(program)
}

/// The bare start: from starting plain Node with the program to its first answer.
pub(crate) fn bare_start(peers: &Peers, port: u16) -> Result<Took> {
    let mut command = Command::new(&peers.node);
    command.arg(tools::program("plain.js")).env("PORT", port.to_string());
    let began = Instant::now();
    let program = Program::start(&mut command)?;
    let answer = probe::first_answer(port, began, None)?;
    program.stop(Signal::KILL, STOP_LIMIT)?;
    Ok(Took { answer: answer.after, exit: None })
}

/// Kills the only worker of an app that has just been started, and waits for an answer from
/// another one. An app of its own for each crash: later ones might be restarted with a delay.
pub(crate) fn until_answer(setup: Setup, files: &Files, port: u16) -> Result<Took> {
    ensure!(setup.workers == 1, "a second worker would answer at once");
    let mut app = App::start(setup, files, port)?;
    app.wait_for_spares()?;
    let worker = *app.workers().first().context("an app without workers")?;
    let pid = Pid::from_raw(worker).context("failed to make sense of a process id")?;
    let process = pidfd_open(pid, PidfdFlags::empty()).context("failed to watch a worker")?;
    // It was the worker that was opened, if it is still there to answer.
    let answered = Client::new(port, Reuse::Close).ask("/who");
    ensure!(answered == Ok(worker), "instead of worker {worker} came {answered:?}");
    let exit = watch_for_exit(process.try_clone().context("failed to watch a worker")?);
    let began = Instant::now();
    pidfd_send_signal(&process, Signal::KILL).context("failed to kill a worker")?;
    let answer = probe::first_answer(port, began, Some(worker))?;
    if setup.spares > 0 {
        app.wait_for("spare_promoted")?;
    }
    app.stop()?;
    let exit = exit.join().ok().context("the thread that watched a worker panicked")??;
    Ok(Took { answer: answer.after, exit: Some(exit.duration_since(began)) })
}

/// When the process ends. By a thread of its own, so that it is not seen only when the next
/// connection is tried.
fn watch_for_exit(process: OwnedFd) -> JoinHandle<Result<Instant>> {
    thread::spawn(move || {
        let waited = interrupt::wait(process.as_fd(), EXIT_LIMIT)?;
        ensure!(waited == Waited::Ready, "a worker that was killed has not ended");
        Ok(Instant::now())
    })
}
