//! Starts processes, by a thread that does nothing else.
//!
//! Forking and waiting for the exec blocks, so the driver leaves it to that thread. It is the
//! program's first thread if that is lent ([`crate::host`]), or one that ends when the driver
//! does: the system kills a worker when the thread that started it ends (`PR_SET_PDEATHSIG`),
//! and that is how no worker outlives its primary.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::fchown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use forkyard_core::{ReadyRule, SlotId, WorkerId};
use forkyard_ipc::Dialect;
use forkyard_sys::folder::{self, Others, Standing};
use forkyard_sys::notify::{self, NotifySocket};
use forkyard_sys::process::{Account, Core, Process, Spawn, SpawnError, Step};
use tokio::sync::mpsc;

use super::{LiveIndex, Mail, Pinning, PrimarySettings};
use crate::agent;
use crate::event::WorkerInfo;
use crate::host::{Errands, NobodyThere};
use crate::output::{Capture, OutputPump};
use crate::program::{Limits, Program};
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
    pub(crate) index: LiveIndex,
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
    notify: NotifyDirs,
    pump: Option<OutputPump>,
}

/// Where the files of workers' notification sockets are; without a folder they have none.
#[derive(Clone, Debug, Default)]
pub(crate) struct NotifyDirs {
    /// This user's own.
    pub(crate) own: Option<PathBuf>,
    /// One that workers of other users can reach.
    pub(crate) visible: Option<PathBuf>,
}

impl Recipe {
    pub(crate) fn new(settings: &PrimarySettings, pump: Option<OutputPump>) -> Self {
        let PrimarySettings { dialect, nofile_soft, pinning, .. } = *settings;
        let ready = settings.core.supervise.ready;
        let notify = settings.notify.clone();
        notify.own.iter().chain(&notify.visible).for_each(|dir| clean_up(dir));
        Self { dialect, nofile_soft, pinning, ready, notify, pump }
    }

    fn spawn(&self, job: &Job, sockets: Vec<OwnedFd>) -> Result<Spawned, SpawnError> {
        let (channel, theirs) = forkyard_sys::channel::channel_pair()?;
        let notify = self.notify_socket(job)?;
        let Limits { account, new_privileges, nice, open_files, cgroup, .. } = job.program.limits();
        let spawn = Spawn {
            channel: Some(theirs),
            sockets,
            nofile_soft: self.nofile_soft,
            open_files: *open_files,
            core: self.core(job.slot)?,
            nice: *nice,
            cgroup: cgroup.clone(),
            account: account.clone(),
            new_privileges: *new_privileges,
        };
        let mut command = self.command(job, notify.as_ref(), spawn.channel_number())?;
        let outputs = self.pump.as_ref().map(|_| Outputs::of(&mut command, account.as_ref()));
        let outputs = outputs.transpose()?;
        let process = forkyard_sys::process::spawn(command, spawn)?;
        let output_done = self.pump.as_ref().zip(outputs);
        let output_done = output_done.map(|(pump, outputs)| outputs.capture(pump, job, &process));
        Ok(Spawned { worker: job.worker, process, channel, notify, output_done })
    }

    /// Only where somebody listens to what is said.
    fn notify_socket(&self, job: &Job) -> io::Result<Option<NotifySocket>> {
        match self.ready {
            ReadyRule::Listening | ReadyRule::Notify => self.bind_notify_socket(job).map(Some),
            ReadyRule::Message | ReadyRule::Started => Ok(None),
        }
    }

    /// Some programs end when they are to notify an abstract socket, so it is one only where
    /// there can be no file.
    fn bind_notify_socket(&self, job: &Job) -> io::Result<NotifySocket> {
        let account = job.program.limits().account.as_ref().filter(|account| !account.is_own());
        let dir = if account.is_some() { &self.notify.visible } else { &self.notify.own };
        let Some(dir) = dir else { return NotifySocket::bind_abstract() };
        let name = format!("{NOTIFY_PREFIX}{}.{}", std::process::id(), job.worker);
        let bound = make_folder(dir, account).and_then(|()| NotifySocket::bind(&dir.join(name)));
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
        let limits = job.program.limits();
        limits.tell_apart(&mut command, job.slot, job.index).map_err(io::Error::other)?;
        match notify {
            Some(socket) => command.env(NOTIFY_VARIABLE, socket.address()?),
            // The primary's own is not for its workers to speak to.
            None => command.env_remove(NOTIFY_VARIABLE),
        };
        Ok(command)
    }
}

/// A folder that nobody but us can change, and that the worker's user can get at.
fn make_folder(dir: &Path, account: Option<&Account>) -> io::Result<()> {
    let others = match account {
        None => {
            folder::make(dir)?;
            Others::KeepOut
        }
        Some(account) => {
            folder::make_visible(dir)?;
            if let Some(closed) = agent::closed_to(account, dir)? {
                let why = format!("user {} may not enter {}", account.name, closed.display());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
            }
            Others::MayLook
        }
    };
    match folder::look(dir, others)? {
        Standing::Ours => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not ours alone")),
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

/// Our ends of what a worker writes to.
#[derive(Debug)]
struct Outputs {
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Outputs {
    /// Pipes that belong to the worker's user, who could else not open `/dev/stdout`.
    fn of(command: &mut Command, account: Option<&Account>) -> io::Result<Self> {
        let (stdout, to_stdout) = io::pipe()?;
        let (stderr, to_stderr) = io::pipe()?;
        if let Some(Account { uid, gid, .. }) = account.filter(|account| !account.is_own()) {
            for pipe in [&to_stdout, &to_stderr] {
                if let Err(error) = fchown(pipe, Some(*uid), Some(*gid)) {
                    tracing::debug!(%error, "workers cannot open their output by its name");
                }
            }
        }
        command.stdout(to_stdout).stderr(to_stderr);
        Ok(Self { stdout: stdout.into(), stderr: stderr.into() })
    }

    fn capture(self, pump: &OutputPump, job: &Job, process: &Process) -> Capture {
        let info = WorkerInfo { slot: job.slot, worker: job.worker, pid: process.pid() };
        pump.capture(info, Some(self.stdout), Some(self.stderr))
    }
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

/// What went wrong, and the way out.
fn describe(program: &Program, error: &SpawnError) -> String {
    let limits = program.limits();
    let hint = match error.step {
        Step::Start => start_hint(limits, &error.cause),
        Step::User => "; the primary has to be root for that".to_owned(),
        Step::Nice => "; below 0, and below the primary's own, takes root".to_owned(),
        Step::OpenFiles => "; more than the primary's hard limit (ulimit -Hn) takes root, and \
            more than `sysctl fs.nr_open` is not possible"
            .to_owned(),
        Step::Cgroup => {
            let group = limits.cgroup.as_deref().unwrap_or(Path::new("")).display();
            format!("; {group} is gone or has been changed: restart the app")
        }
        _ => String::new(),
    };
    format!("failed to start {}: {error}{hint}", program.path().display())
}

fn start_hint(limits: &Limits, cause: &io::Error) -> String {
    let user = limits.account.as_ref().filter(|_| limits.changes_user());
    match (cause.raw_os_error(), user) {
        (Some(EMFILE | ENFILE), _) => "; raise the limit (ulimit -n): the primary needs 6 a worker",
        (Some(EAGAIN), _) => "; raise the limit of processes (ulimit -u)",
        (Some(E2BIG), _) => "; its arguments and environment are too large",
        (Some(EACCES), Some(Account { name, .. })) => {
            return format!(
                "; user {name} must be able to get to it through every folder above it"
            );
        }
        _ => "",
    }
    .to_owned()
}

/// Linux error numbers that have a way out.
const E2BIG: i32 = 7;
const EAGAIN: i32 = 11;
const EACCES: i32 = 13;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// What a worker of this program is given as its notification socket, if anything, with the
    /// files in this folder.
    fn notify_variable(rule: ReadyRule, dirs: NotifyDirs, program: Program) -> Option<String> {
        let (settings, ..) = crate::Cluster::builder().ready(rule).settings(None).unwrap();
        let recipe = Recipe::new(&PrimarySettings { notify: dirs, ..settings }, None);
        let program = Arc::new(program.env(NOTIFY_VARIABLE, "/run/systemd/notify"));
        let (slot, worker, sockets) = (SlotId(0), WorkerId(1), Vec::new());
        let job = Job { slot, index: LiveIndex(0), worker, program, sockets };
        let notify = recipe.notify_socket(&job).unwrap();
        let command = recipe.command(&job, notify.as_ref(), 3).unwrap();
        let mut given = command.get_envs().filter(|(name, _)| *name == NOTIFY_VARIABLE);
        let (_, value) = given.next().expect("it is given, or taken out of what it inherits");
        value.and_then(OsStr::to_str).map(str::to_owned)
    }

    fn own(dir: &Path) -> NotifyDirs {
        NotifyDirs { own: Some(dir.to_owned()), visible: None }
    }

    fn program() -> Program {
        Program::new("/bin/true")
    }

    /// A folder of this user's alone, whatever the umask says.
    fn private_dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        dir
    }

    #[test]
    fn a_worker_has_a_notification_socket_where_the_ready_rule_looks_at_it() {
        let dir = private_dir();
        for rule in [ReadyRule::Listening, ReadyRule::Notify] {
            let in_folder = notify_variable(rule, own(dir.path()), program()).unwrap();
            assert_eq!(Path::new(&in_folder).parent(), Some(dir.path()), "{rule:?}");
            let without = notify_variable(rule, NotifyDirs::default(), program()).unwrap();
            assert!(without.starts_with('@'), "{rule:?}");
        }
        for rule in [ReadyRule::Message, ReadyRule::Started] {
            assert_eq!(notify_variable(rule, own(dir.path()), program()), None, "{rule:?}");
        }
    }

    /// A folder that is none, one with a path that is too long, and one that is not ours alone.
    #[test]
    fn without_room_for_a_file_the_socket_is_an_abstract_one() {
        let dir = private_dir();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let open = dir.path().join("open");
        folder::make(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        for dir in [file, dir.path().join("x".repeat(100)), open] {
            let address = notify_variable(ReadyRule::Notify, own(&dir), program()).unwrap();
            assert!(address.starts_with('@'), "{address}");
        }
    }

    /// Only root can run workers as somebody else; whose folder it is shows all the same.
    #[test]
    fn a_worker_of_another_user_has_its_file_where_that_can_reach_it() {
        let nobody = Account::find("nobody", None).unwrap();
        let temp = private_dir();
        let visible = temp.path().join("visible");
        let dirs =
            NotifyDirs { own: Some(temp.path().join("own")), visible: Some(visible.clone()) };
        let given = || {
            let program = program().user(nobody.clone());
            notify_variable(ReadyRule::Notify, dirs.clone(), program).unwrap()
        };
        // The folder above is this user's alone.
        assert_eq!(given().starts_with('@'), !nobody.is_own());
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let reachable = if nobody.is_own() { temp.path().join("own") } else { visible };
        assert_eq!(Path::new(&given()).parent(), Some(&*reachable));
    }

    /// A message that does not say what to do is of no use.
    #[test]
    fn what_fails_is_told_with_its_way_out() {
        let nobody = Account::find("nobody", None).unwrap();
        let program = Program::new("/srv/shop").user(nobody.clone());
        let told = |step, errno| {
            let cause = io::Error::from_raw_os_error(errno);
            describe(&program, &SpawnError { step, cause })
        };
        const EPERM: i32 = 1;
        const ENOENT: i32 = 2;
        for (step, errno, way_out) in [
            (Step::User, EPERM, "has to be root"),
            (Step::Nice, EACCES, "takes root"),
            (Step::OpenFiles, EPERM, "fs.nr_open"),
            (Step::Cgroup, ENOENT, "restart the app"),
            (Step::Start, E2BIG, "too large"),
        ] {
            let text = told(step, errno);
            assert!(
                text.starts_with("failed to start /srv/shop: ") && text.contains(way_out),
                "{text}"
            );
        }
        let text = told(Step::Start, EACCES);
        assert_eq!(text.contains("user nobody must be able"), !nobody.is_own(), "{text}");
    }
}
