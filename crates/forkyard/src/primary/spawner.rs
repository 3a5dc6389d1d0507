//! The thread that starts processes.
//!
//! Forking and waiting for the exec blocks, so the driver leaves it to this thread. The
//! thread ends only when the driver does: the system kills a worker when the thread that
//! started it ends (`PR_SET_PDEATHSIG`), and that is how no worker outlives its primary.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use forkyard_core::{MAX_SLOTS, SlotId, WorkerId};
use forkyard_ipc::Dialect;
use forkyard_sys::notify::NotifySocket;
use forkyard_sys::process::{Process, Spawn};
use tokio::sync::mpsc;

use super::{Mail, PrimarySettings};
use crate::event::WorkerInfo;
use crate::output::{Capture, OutputPump};
use crate::program::Program;
use crate::worker::{CHANNEL_VARIABLE, DIALECT_VARIABLE, ID_VARIABLE};

/// Tells a worker its seat.
const SLOT_VARIABLE: &str = "FORKYARD_SLOT";

/// Tells a worker where to say that it is ready; see sd_notify(3).
const NOTIFY_VARIABLE: &str = "NOTIFY_SOCKET";

/// A worker to start.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) slot: SlotId,
    pub(crate) worker: WorkerId,
    pub(crate) program: Arc<Program>,
}

/// A worker that runs.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) worker: WorkerId,
    pub(crate) process: Process,
    pub(crate) channel: OwnedFd,
    /// Where it may say that it is ready.
    pub(crate) notify: NotifySocket,
    /// Its output, if that is captured.
    pub(crate) output_done: Option<Capture>,
}

/// How workers are started.
#[derive(Debug)]
pub(crate) struct Recipe {
    dialect: Dialect,
    nofile_soft: Option<u64>,
    pump: Option<OutputPump>,
}

impl Recipe {
    pub(crate) fn new(settings: &PrimarySettings, pump: Option<OutputPump>) -> Self {
        Self { dialect: settings.dialect, nofile_soft: settings.nofile_soft, pump }
    }

    fn spawn(&self, job: &Job) -> io::Result<Spawned> {
        let (channel, theirs) = forkyard_sys::channel::channel_pair()?;
        let notify = NotifySocket::bind()?;
        let command = self.command(job, &theirs, &notify.address()?);
        let spawn =
            Spawn { channel: Some(theirs), nofile_soft: self.nofile_soft, ..Spawn::default() };
        let mut process = forkyard_sys::process::spawn(command, spawn)?;
        let output_done = self.pump.as_ref().map(|pump| capture(pump, job, &mut process));
        Ok(Spawned { worker: job.worker, process, channel, notify, output_done })
    }

    fn command(&self, job: &Job, channel: &OwnedFd, notify: &str) -> Command {
        let mut command = job.program.command();
        command
            .env(ID_VARIABLE, job.worker.to_string())
            .env(CHANNEL_VARIABLE, channel.as_raw_fd().to_string())
            .env(DIALECT_VARIABLE, self.dialect.to_string())
            .env(SLOT_VARIABLE, job.slot.to_string())
            .env(NOTIFY_VARIABLE, notify);
        if self.pump.is_some() {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        command
    }
}

fn capture(pump: &OutputPump, job: &Job, process: &mut Process) -> Capture {
    let info = WorkerInfo { slot: job.slot, worker: job.worker, pid: process.pid() };
    pump.capture(info, process.take_stdout(), process.take_stderr())
}

/// Starts the thread. A slot has at most two jobs at a time, one for its seat and one for the
/// successor, so the queue never fills.
pub(crate) fn start(recipe: Recipe, mail: mpsc::Sender<Mail>) -> io::Result<SyncSender<Job>> {
    let (jobs, inbox) = sync_channel(2 * MAX_SLOTS);
    thread::Builder::new()
        .name("forkyard-spawner".into())
        .spawn(move || run(&recipe, &inbox, &mail))?;
    Ok(jobs)
}

fn run(recipe: &Recipe, inbox: &Receiver<Job>, mail: &mpsc::Sender<Mail>) {
    while let Ok(job) = inbox.recv() {
        let report = match recipe.spawn(&job) {
            Ok(spawned) => Mail::Spawned(spawned),
            Err(error) => {
                Mail::SpawnFailed { worker: job.worker, message: describe(&job.program, &error) }
            }
        };
        if mail.blocking_send(report).is_err() {
            return;
        }
    }
}

fn describe(program: &Program, error: &io::Error) -> String {
    let hint = match error.raw_os_error() {
        Some(EMFILE | ENFILE) => "; raise the limit (ulimit -n): the primary needs 6 a worker",
        Some(EAGAIN) => "; raise the limit of processes (ulimit -u)",
        Some(E2BIG) => "; its arguments and environment are too large",
        _ => "",
    };
    format!("failed to start {}: {error}{hint}", program.path().display())
}

/// Linux error numbers that have a way out.
const E2BIG: i32 = 7;
const EAGAIN: i32 = 11;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
