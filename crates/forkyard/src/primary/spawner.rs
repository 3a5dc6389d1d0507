//! Starts processes, by a thread that does nothing else.
//!
//! Forking and waiting for the exec blocks, so the driver leaves it to that thread. It is the
//! program's first thread if that is lent ([`crate::host`]), or one that ends when the driver
//! does: the system kills a worker when the thread that started it ends (`PR_SET_PDEATHSIG`),
//! and that is how no worker outlives its primary.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use forkyard_core::{ReadyRule, SlotId, WorkerId};
use forkyard_ipc::Dialect;
use forkyard_sys::folder;
use forkyard_sys::notify::{self, NotifySocket};
use forkyard_sys::process::{Core, Process, Spawn};
use tokio::sync::mpsc;

use super::{Mail, Pinning, PrimarySettings};
use crate::event::WorkerInfo;
use crate::host::{Errands, NobodyThere};
use crate::output::{Capture, OutputPump};
use crate::program::Program;
use crate::worker::{CHANNEL_VARIABLE, DIALECT_VARIABLE, ID_VARIABLE};

/// Tells a worker its seat.
const SLOT_VARIABLE: &str = "FORKYARD_SLOT";

/// Tells a worker where to say that it is ready; see sd_notify(3).
const NOTIFY_VARIABLE: &str = "NOTIFY_SOCKET";

/// What the files of notification sockets are called: this, the primary's process id, and the
/// worker's number.
const NOTIFY_PREFIX: &str = "notify.";

/// A worker to start.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) slot: SlotId,
    pub(crate) worker: WorkerId,
    pub(crate) program: Arc<Program>,
    /// Listening sockets that it inherits.
    pub(crate) sockets: Vec<OwnedFd>,
}

/// A worker that runs.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) worker: WorkerId,
    pub(crate) process: Process,
    pub(crate) channel: OwnedFd,
    /// Where it may say that it is ready, if that is looked at.
    pub(crate) notify: Option<NotifySocket>,
    /// Its output, if that is captured.
    pub(crate) output_done: Option<Capture>,
}

/// How workers are started.
#[derive(Debug)]
pub(crate) struct Recipe {
    dialect: Dialect,
    nofile_soft: Option<u64>,
    pinning: Pinning,
    ready: ReadyRule,
    notify_dir: Option<PathBuf>,
    pump: Option<OutputPump>,
}

impl Recipe {
    pub(crate) fn new(settings: &PrimarySettings, pump: Option<OutputPump>) -> Self {
        let PrimarySettings { dialect, nofile_soft, pinning, .. } = *settings;
        let ready = settings.core.supervise.ready;
        let notify_dir = settings.notify_dir.clone();
        notify_dir.iter().for_each(|dir| clean_up(dir));
        Self { dialect, nofile_soft, pinning, ready, notify_dir, pump }
    }

    fn spawn(&self, job: &Job, sockets: Vec<OwnedFd>) -> io::Result<Spawned> {
        let (channel, theirs) = forkyard_sys::channel::channel_pair()?;
        let notify = self.notify_socket(job.worker)?;
        let spawn = Spawn {
            channel: Some(theirs),
            sockets,
            nofile_soft: self.nofile_soft,
            core: self.core(job.slot)?,
        };
        let command = self.command(job, notify.as_ref(), spawn.channel_number())?;
        let mut process = forkyard_sys::process::spawn(command, spawn)?;
        let output_done = self.pump.as_ref().map(|pump| capture(pump, job, &mut process));
        Ok(Spawned { worker: job.worker, process, channel, notify, output_done })
    }

    /// Only where somebody listens to what is said.
    fn notify_socket(&self, worker: WorkerId) -> io::Result<Option<NotifySocket>> {
        match self.ready {
            ReadyRule::Listening | ReadyRule::Notify => self.bind_notify_socket(worker).map(Some),
            ReadyRule::Message | ReadyRule::Started => Ok(None),
        }
    }

    /// Some programs end when they are to notify an abstract socket, so it is one only where
    /// there can be no file.
    fn bind_notify_socket(&self, worker: WorkerId) -> io::Result<NotifySocket> {
        let Some(dir) = &self.notify_dir else { return NotifySocket::bind_abstract() };
        let name = format!("{NOTIFY_PREFIX}{}.{worker}", std::process::id());
        let bound = folder::make(dir).and_then(|()| NotifySocket::bind(&dir.join(name)));
        bound.or_else(|error| {
            tracing::warn!(%error, dir = %dir.display(), "failed to make a file for a worker's notifications; it gets an abstract socket");
            NotifySocket::bind_abstract()
        })
    }

    /// Of the cores that this thread may use, which nobody pins.
    fn core(&self, slot: SlotId) -> io::Result<Option<Core>> {
        match self.pinning {
            Pinning::Free => Ok(None),
            Pinning::CoreEach => Core::usable(slot.0 as usize),
        }
    }

    fn command(
        &self,
        job: &Job,
        notify: Option<&NotifySocket>,
        channel: RawFd,
    ) -> io::Result<Command> {
        let mut command = job.program.command();
        command
            .env(ID_VARIABLE, job.worker.to_string())
            .env(CHANNEL_VARIABLE, channel.to_string())
            .env(DIALECT_VARIABLE, self.dialect.to_string())
            .env(SLOT_VARIABLE, job.slot.to_string());
        match notify {
            Some(socket) => command.env(NOTIFY_VARIABLE, socket.address()?),
            // The primary's own is not for its workers to speak to.
            None => command.env_remove(NOTIFY_VARIABLE),
        };
        if self.pump.is_some() {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        Ok(command)
    }
}

/// Removes what primaries that were killed have left.
fn clean_up(dir: &Path) {
    match notify::sweep(dir, NOTIFY_PREFIX) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::debug!(%error, dir = %dir.display(), "failed to look for left-over files");
        }
        _ => {}
    }
}

fn capture(pump: &OutputPump, job: &Job, process: &mut Process) -> Capture {
    let info = WorkerInfo { slot: job.slot, worker: job.worker, pid: process.pid() };
    pump.capture(info, process.take_stdout(), process.take_stderr())
}

/// Has workers started.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    errands: Errands,
    recipe: Arc<Recipe>,
    mail: mpsc::Sender<Mail>,
}

impl Spawner {
    /// Finds a thread to do it, or starts one.
    pub(crate) fn start(recipe: Recipe, mail: mpsc::Sender<Mail>) -> io::Result<Self> {
        Ok(Self::of(Errands::find()?, recipe, mail))
    }

    /// With that thread.
    pub(crate) fn of(errands: Errands, recipe: Recipe, mail: mpsc::Sender<Mail>) -> Self {
        Self { errands, recipe: Arc::new(recipe), mail }
    }

    /// Has a worker started; how that went is mail. Never waits.
    pub(crate) fn spawn(&self, mut job: Job) -> Result<(), NobodyThere> {
        let (recipe, mail) = (Arc::clone(&self.recipe), self.mail.clone());
        self.errands.send(move || {
            let sockets = std::mem::take(&mut job.sockets);
            let report = recipe.spawn(&job, sockets).map_or_else(
                |error| {
                    let message = describe(&job.program, &error);
                    Mail::SpawnFailed { worker: job.worker, message }
                },
                Mail::Spawned,
            );
            // A driver that is gone needs no worker.
            let _ = mail.blocking_send(report);
        })
    }

    /// The thread that does it.
    pub(crate) fn errands(&self) -> &Errands {
        &self.errands
    }

    /// Who reads the workers' output, if that is captured.
    pub(crate) fn output(&self) -> Option<&OutputPump> {
        self.recipe.pump.as_ref()
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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;

    use super::*;

    /// What a worker is given as its notification socket, if anything, with the files in this
    /// folder.
    fn notify_variable(rule: ReadyRule, dir: Option<&Path>) -> Option<String> {
        let builder = crate::Cluster::builder().ready(rule);
        let builder = dir.into_iter().fold(builder, crate::ClusterBuilder::notify_dir);
        let (settings, ..) = builder.settings(None).unwrap();
        let recipe = Recipe::new(&settings, None);
        let program = Program::new("/bin/true").env(NOTIFY_VARIABLE, "/run/systemd/notify");
        let (slot, worker, sockets) = (SlotId(0), WorkerId(1), Vec::new());
        let job = Job { slot, worker, program: Arc::new(program), sockets };
        let notify = recipe.notify_socket(worker).unwrap();
        let command = recipe.command(&job, notify.as_ref(), 3).unwrap();
        let mut given = command.get_envs().filter(|(name, _)| *name == NOTIFY_VARIABLE);
        let (_, value) = given.next().expect("it is given, or taken out of what it inherits");
        value.and_then(OsStr::to_str).map(str::to_owned)
    }

    #[test]
    fn a_worker_has_a_notification_socket_where_the_ready_rule_looks_at_it() {
        let dir = tempfile::tempdir().unwrap();
        for rule in [ReadyRule::Listening, ReadyRule::Notify] {
            let in_folder = notify_variable(rule, Some(dir.path())).unwrap();
            assert_eq!(Path::new(&in_folder).parent(), Some(dir.path()), "{rule:?}");
            assert!(notify_variable(rule, None).unwrap().starts_with('@'), "{rule:?}");
        }
        for rule in [ReadyRule::Message, ReadyRule::Started] {
            assert_eq!(notify_variable(rule, Some(dir.path())), None, "{rule:?}");
        }
    }

    /// A folder that is none, and one with a path that is too long.
    #[test]
    fn without_room_for_a_file_the_socket_is_an_abstract_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for dir in [file, dir.path().join("x".repeat(100))] {
            assert!(notify_variable(ReadyRule::Notify, Some(&dir)).unwrap().starts_with('@'));
        }
    }
}
