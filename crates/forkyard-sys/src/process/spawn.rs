//! Starting a process so that it cannot outlive the primary, inherits what it was
//! given and nothing else, and finds the signals as a fresh login would.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{
    Pid, Resource, Rlimit, getpid, getppid, set_parent_process_death_signal, setrlimit,
};

use super::announced::Announced;
use super::{Core, Process, Signal, children, limits};

/// The first number beyond stdin, stdout and stderr, where systemd too puts what a service
/// inherits (`SD_LISTEN_FDS_START` in `sd_listen_fds(3)`).
const FIRST: RawFd = 3;

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
    /// The core that the child runs on; `None` leaves it all that we may use.
    pub core: Option<Core>,
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
///   long as the process should;
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
/// - Those of `fork(2)`, `pidfd_open(2)` and of preparing the child.
/// - `InvalidInput` for a zero byte in an argument or a variable.
pub fn spawn(mut command: Command, spawn: Spawn) -> io::Result<Process> {
    let mut childhood = Childhood::new(spawn, &command)?;
    let _reserved = childhood.reserve_numbers()?;
    command.process_group(0);
    // SAFETY: `prepare` runs between fork and exec, where only async-signal-safe
    // calls are allowed: it makes plain system calls on what was computed before
    // and neither allocates nor locks.
    unsafe { command.pre_exec(move || childhood.prepare()) };
    keep_exit_statuses()?;
    let _enrolling = children::while_spawning();
    Process::adopt(command.spawn()?)
}

/// What the child does to itself between fork and exec.
struct Childhood {
    parent: Pid,
    /// Sockets and channel, in the order of their numbers in the child.
    given: Vec<OwnedFd>,
    /// What is executed if there are sockets.
    announced: Option<Announced>,
    nofile: Option<Rlimit>,
    core: Option<Core>,
}

impl Childhood {
    fn new(spawn: Spawn, command: &Command) -> io::Result<Self> {
        let sockets = spawn.sockets.len();
        let announced = (sockets > 0).then(|| Announced::new(command, sockets)).transpose()?;
        let behind = spawn.channel_number() + 1;
        // Out of the way, so that none is overwritten before it has been put in its place.
        let out_of_the_way = |fd| fcntl_dupfd_cloexec(fd, behind);
        let given = spawn.sockets.into_iter().chain(spawn.channel);
        let given = given.map(out_of_the_way).collect::<Result<_, _>>()?;
        let nofile = spawn.nofile_soft.map(limits::nofile_limit_with_soft);
        Ok(Self { parent: getpid(), given, announced, nofile, core: spawn.core })
    }

    /// Sees to it that the numbers of what is given are in use here while the child is made, so
    /// that none is given to the pipe by which the standard library hears of a failed exec.
    fn reserve_numbers(&self) -> io::Result<Vec<OwnedFd>> {
        let mut reserved: Vec<OwnedFd> = Vec::new();
        let Some(any) = self.given.first() else { return Ok(reserved) };
        let last = FIRST + RawFd::try_from(self.given.len()).unwrap_or(RawFd::MAX - FIRST) - 1;
        while reserved.last().is_none_or(|lowest_free| lowest_free.as_raw_fd() < last) {
            reserved.push(fcntl_dupfd_cloexec(any, FIRST)?);
        }
        Ok(reserved)
    }

    /// Async-signal-safe, see [`spawn`]. Does not return if it executes the program itself.
    fn prepare(&mut self) -> io::Result<()> {
        self.die_with_parent()?;
        for (number, fd) in (FIRST..).zip(&self.given) {
            place(fd, number)?;
        }
        if let Some(limit) = self.nofile {
            setrlimit(Resource::Nofile, limit)?;
        }
        if let Some(core) = self.core {
            core.occupy()?;
        }
        reset_signals()?;
        match &mut self.announced {
            Some(announced) => Err(announced.execute()),
            None => Ok(()),
        }
    }

    fn die_with_parent(&self) -> io::Result<()> {
        set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // A parent that ended before the line above took effect sends nothing.
        // `None` is a parent outside this PID namespace, of which nothing can be
        // known.
        if getppid().is_some_and(|parent| parent != self.parent) {
            // SAFETY: ends the process at once and touches nothing of it.
            unsafe { libc::_exit(1) };
        }
        Ok(())
    }
}

/// Gives the child a descriptor under that number, whatever was there.
fn place(fd: &OwnedFd, number: RawFd) -> io::Result<()> {
    // SAFETY: this is the child between fork and exec. What it closes is a copy that nobody
    // uses here any more; the parent's stays open.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) }.min(0))
}

/// Default dispositions and an empty mask. Handlers would go at exec anyway;
/// what is ignored or blocked would stay (`signal(7)`). The standard library does
/// this for `SIGPIPE` alone.
fn reset_signals() -> io::Result<()> {
    for signal in Signal::all() {
        // Refused for SIGKILL, SIGSTOP and the signals libc keeps for itself,
        // all of which are as they should be.
        let _ = set_default(signal);
    }
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initializes the set it is given, pthread_sigmask reads
    // it. Both are async-signal-safe (signal-safety(7)).
    let error = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut())
    };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

fn set_default(signal: Signal) -> io::Result<()> {
    // SAFETY: all zeros is a valid sigaction: SIG_DFL, no flags, an empty mask.
    let default: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `default` is valid and installs no handler.
    check(unsafe { libc::sigaction(signal.number(), &raw const default, ptr::null_mut()) })
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

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_whose_parent_is_gone_already_ends_before_the_program_starts() {
        let parent = Pid::from_raw(i32::MAX).unwrap();
        let (given, announced, nofile, core) = (Vec::new(), None, None, None);
        let mut childhood = Childhood { parent, given, announced, nofile, core };
        let mut command = Command::new("/bin/true");
        // SAFETY: as in `spawn`.
        unsafe { command.pre_exec(move || childhood.prepare()) };
        let status = command.spawn().unwrap().wait().unwrap();
        assert_eq!(status.code(), Some(1));
    }
}
