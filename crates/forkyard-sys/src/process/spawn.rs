//! Starting a process so that it cannot outlive the primary, inherits what it was
//! given and nothing else, and finds the signals as a fresh login would.

use std::error::Error;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::ptr;

use super::childhood::{Childhood, check, set_default};
use super::{Account, Core, OpenFiles, Process, Signal, children};

/// The first number beyond stdin, stdout and stderr, where systemd too puts what a service
/// inherits (`SD_LISTEN_FDS_START` in `sd_listen_fds(3)`).
pub(super) const FIRST: RawFd = 3;

/// The channel's number in a child that inherits no sockets, the one that Node itself gives it.
///
/// It has to be a low one, or the worker's own children would inherit the channel and hold it
/// open: at its start Node closes to them what it finds from 0 on, up to the first number above
/// 15 that is not open (`uv_disable_stdio_inheritance` in libuv's `src/unix/core.c`).
pub const CHANNEL: RawFd = FIRST;

/// What a process gets beyond its [`Command`].
#[derive(Debug, Default)]
pub struct Spawn {
    /// The worker's end of its channel. In the child it is number [`Self::channel_number`],
    /// which the caller announces in the environment (`NODE_CHANNEL_FD`).
    pub channel: Option<OwnedFd>,
    /// Listening sockets for the child. There they have the numbers from 3 on, and are announced
    /// as systemd does it (`LISTEN_FDS`, `LISTEN_PID`).
    pub sockets: Vec<OwnedFd>,
    /// The child's soft limit of open files; `None` leaves ours. See
    /// [`super::raise_nofile_limit`].
    pub nofile_soft: Option<u64>,
    /// The child's limits of open files, whatever ours are.
    pub open_files: Option<OpenFiles>,
    /// The core that the child runs on; `None` leaves it all that we may use.
    pub core: Option<Core>,
    /// How nice the child is to others, from -20 to 19 (`setpriority(2)`); `None` leaves it as
    /// nice as we are.
    pub nice: Option<i32>,
    /// The folder of the control group that the child enters, of version 2 (`cgroups(7)`).
    pub cgroup: Option<PathBuf>,
    /// As whom the child runs; `None` leaves it our user. Its directory is entered before it
    /// becomes this user, its program is looked for and executed afterwards.
    pub account: Option<Account>,
    /// Whether what the child executes may give it more privileges than it has.
    pub new_privileges: NewPrivileges,
}

/// Whether a program that is executed may bring privileges of its own, by its file's set-user-ID
/// bit or capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewPrivileges {
    /// As usual.
    #[default]
    Allowed,
    /// Never again, for the child and all that it starts (`PR_SET_NO_NEW_PRIVS` in `prctl(2)`).
    Refused,
}

/// What a start can fail at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Making the process, or executing its program.
    Start,
    /// Entering its control group.
    Cgroup,
    /// Setting its limit of open files.
    OpenFiles,
    /// Setting how nice it is.
    Nice,
    /// Becoming its user.
    User,
}

impl Step {
    const ALL: [Self; 5] = [Self::Start, Self::Cgroup, Self::OpenFiles, Self::Nice, Self::User];

    pub(super) fn failed(self, cause: impl Into<io::Error>) -> SpawnError {
        SpawnError { step: self, cause: cause.into() }
    }

    /// Never 0, which cannot be told.
    pub(super) fn number(self) -> u64 {
        self as u64 + 1
    }

    pub(super) fn of(number: u64) -> Self {
        Self::ALL.into_iter().find(|step| step.number() == number).unwrap_or(Self::Start)
    }
}

/// Why a process could not be started.
#[derive(Debug)]
pub struct SpawnError {
    /// What failed.
    pub step: Step,
    /// Why.
    pub cause: io::Error,
}

impl SpawnError {
    /// The kind of the cause.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.cause.kind()
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.step {
            Step::Start => return self.cause.fmt(f),
            Step::Cgroup => "failed to put it into its control group",
            Step::OpenFiles => "failed to set its limit of open files",
            Step::Nice => "failed to set its niceness",
            Step::User => "failed to make it run as its user",
        };
        write!(f, "{what}: {}", self.cause)
    }
}

impl Error for SpawnError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

impl From<io::Error> for SpawnError {
    fn from(cause: io::Error) -> Self {
        Step::Start.failed(cause)
    }
}

impl From<rustix::io::Errno> for SpawnError {
    fn from(cause: rustix::io::Errno) -> Self {
        Step::Start.failed(cause)
    }
}

impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> Self {
        match error.step {
            Step::Start => error.cause,
            _ => Self::new(error.kind(), error),
        }
    }
}

impl Spawn {
    /// The number of the channel in the child: behind the sockets.
    #[must_use]
    pub fn channel_number(&self) -> RawFd {
        FIRST + RawFd::try_from(self.sockets.len()).unwrap_or(RawFd::MAX - FIRST)
    }
}

/// Starts `command` as the leader of its own process group. It
///
/// - is killed when the **thread** that called this ends
///   (`PR_SET_PDEATHSIG`, `prctl(2)`), so call it from a thread that lives as
///   long as the process should; also if it runs as another user;
/// - inherits stdin, stdout and stderr as `command` says, the descriptors of
///   `spawn`, and no other;
/// - starts with no signal blocked and none ignored, but for 32 and 33, which libc
///   keeps for itself and does not let be changed.
///
/// Returns once the program has been executed. The descriptors in `spawn` are
/// then closed here, also if it fails.
///
/// # Errors
///
/// - That of the exec, such as `NotFound`, `PermissionDenied` or `E2BIG`.
/// - Those of `fork(2)`, `pidfd_open(2)` and of preparing the child, with the [`Step`] at which
///   it failed.
/// - `InvalidInput` for a zero byte in an argument or a variable.
pub fn spawn(mut command: Command, spawn: Spawn) -> Result<Process, SpawnError> {
    let mut childhood = Childhood::new(spawn, &command)?;
    let _reserved = childhood.reserve_numbers()?;
    let failure = childhood.failure()?;
    command.process_group(0);
    // SAFETY: `prepare` runs between fork and exec, where only async-signal-safe
    // calls are allowed: it makes plain system calls on what was computed before
    // and neither allocates nor locks.
    unsafe { command.pre_exec(move || childhood.prepare()) };
    keep_exit_statuses()?;
    let _enrolling = children::while_spawning();
    match command.spawn() {
        Ok(child) => Ok(Process::adopt(child)?),
        Err(cause) => Err(failure.step().failed(cause)),
    }
}

/// Makes sure that children are kept for us to reap. A process started with
/// `SIGCHLD` ignored, as some supervisors do, inherits that, and the kernel then
/// reaps its children itself and forgets how they ended (`waitpid(2)`, notes).
fn keep_exit_statuses() -> io::Result<()> {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: asks only; `now` is writable, and valid from the start as zeros.
    let now = unsafe {
        check(libc::sigaction(libc::SIGCHLD, ptr::null(), now.as_mut_ptr()))?;
        now.assume_init()
    };
    if now.sa_sigaction == libc::SIG_IGN { set_default(Signal::CHLD) } else { Ok(()) }
}
