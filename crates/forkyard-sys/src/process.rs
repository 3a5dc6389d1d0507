//! Processes: starting, signalling, watching and reaping them.
//!
//! A [`Process`] is a child held by its pidfd. Its number cannot come to mean
//! somebody else while it is held, because only the holder reaps it:
//!
//! ```text
//!  spawn ──▶ running ──exits──▶ exited (pidfd readable) ──reap──▶ gone
//!               │                  │
//!               └── signal, signal_group: always reach this process or nobody
//! ```

mod account;
mod affinity;
mod announced;
mod childhood;
mod children;
mod exit_status;
mod limits;
mod orphans;
mod own_turn;
mod processor;
mod resident;
mod signal;
mod spawn;
mod usage;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::Child;

use rustix::io::{Errno, retry_on_intr};
use rustix::process::{
    Pid, PidfdFlags, WaitId, WaitIdOptions, kill_process_group, pidfd_open, pidfd_send_signal,
    waitid,
};

pub use account::{Account, AccountError};
pub use affinity::Core;
pub use exit_status::ExitStatus;
pub use limits::{OpenFiles, raise_nofile_limit};
pub use orphans::{is_init, reap_orphans};
pub use own_turn::wait_for_own_turn;
pub use processor::{Scheduling, scheduling};
pub use resident::resident_bytes;
pub use signal::{ParseSignalError, Signal, ignore, is_ignored};
pub use spawn::{CHANNEL, NewPrivileges, Spawn, SpawnError, Step, spawn};
pub use usage::{Usage, usage};

/// A child process that has not been reaped, started by [`spawn`].
///
/// Dropping it neither signals the process nor waits for it: an exited one is
/// reaped, a running one goes on and becomes a stranger to [`reap_orphans`].
pub struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    reaped: bool,
}

impl Process {
    /// The process number. Use it to show and to compare; to act on the process
    /// there are methods that cannot hit another one.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// The pidfd, which polls readable from the moment the process has exited.
    /// Not to be read.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Our end of the child's stdin if it was `Stdio::piped()`, once. Blocking.
    pub fn take_stdin(&mut self) -> Option<OwnedFd> {
        self.stdin.take()
    }

    /// Our end of the child's stdout if it was `Stdio::piped()`, once. Blocking.
    pub fn take_stdout(&mut self) -> Option<OwnedFd> {
        self.stdout.take()
    }

    /// Our end of the child's stderr if it was `Stdio::piped()`, once. Blocking.
    pub fn take_stderr(&mut self) -> Option<OwnedFd> {
        self.stderr.take()
    }

    /// Sends a signal to the process. It is no error if it has exited already.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` if the process has come to run as another user.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        pidfd_send_signal(&self.pidfd, signal.for_rustix())?;
        Ok(())
    }

    /// Sends a signal to every process of the group this one was started as the
    /// leader of, children and grandchildren included unless they left it. It is
    /// no error if nobody is in it.
    ///
    /// There is no pidfd of a group, but the number is safe: it is the leader's,
    /// and the leader is not reaped.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` if there are members and none may be signalled.
    pub fn signal_group(&self, signal: Signal) -> io::Result<()> {
        match kill_process_group(self.pid, signal.for_rustix()) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// How the process ended, or `None` while it runs. Does not reap it: its
    /// number stays taken, and [`Self::signal_group`] stays safe.
    ///
    /// # Errors
    ///
    /// Those of `waitid(2)`.
    pub fn exited(&self) -> io::Result<Option<ExitStatus>> {
        self.wait(WaitIdOptions::NOWAIT)
    }

    /// Reaps the process if it has exited, and gives it back if not.
    ///
    /// # Errors
    ///
    /// Those of `waitid(2)`.
    pub fn reap(mut self) -> io::Result<Result<ExitStatus, Self>> {
        Ok(self.try_reap()?.ok_or(self))
    }

    /// Takes charge of a child that has just been started.
    fn adopt(mut child: Child) -> io::Result<Self> {
        let opened = to_rustix(child.id())
            .ok_or(Errno::SRCH)
            .and_then(|pid| Ok((pid, pidfd_open(pid, PidfdFlags::empty())?)));
        let (pid, pidfd) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                // Without a pidfd (too many open files) it cannot be supervised.
                child.kill()?;
                child.wait()?;
                return Err(error.into());
            }
        };
        children::enrolled().insert(child.id());
        Ok(Self {
            pid,
            pidfd,
            stdin: child.stdin.take().map(OwnedFd::from),
            stdout: child.stdout.take().map(OwnedFd::from),
            stderr: child.stderr.take().map(OwnedFd::from),
            reaped: false,
        })
    }

    /// Takes charge of a child that a former program of this process has started with
    /// [`spawn`] and left by its number and its pidfd.
    ///
    /// # Errors
    ///
    /// - `ECHILD` if it is no child of this process, or has been reaped.
    /// - `InvalidInput` if the pidfd is another process's, or none.
    pub fn inherit(pid: u32, pidfd: OwnedFd) -> io::Result<Self> {
        let other =
            || io::Error::new(io::ErrorKind::InvalidInput, "the pidfd is another process's");
        let number = to_rustix(pid).filter(|_| pid_of(&pidfd) == Some(pid)).ok_or_else(other)?;
        let (stdin, stdout, stderr) = (None, None, None);
        let child = Self { pid: number, pidfd, stdin, stdout, stderr, reaped: false };
        // Asks the system whether it is a child.
        child.exited()?;
        children::enrolled().insert(pid);
        Ok(child)
    }

    fn try_reap(&mut self) -> io::Result<Option<ExitStatus>> {
        // Locked until the number is struck out: from the reaping on it can be
        // given to a new process.
        let mut enrolled = children::enrolled();
        let status = self.wait(WaitIdOptions::empty())?;
        if status.is_some() {
            enrolled.remove(&self.pid());
            self.reaped = true;
        }
        Ok(status)
    }

    fn wait(&self, how: WaitIdOptions) -> io::Result<Option<ExitStatus>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | how;
        let status = retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), options))?;
        Ok(status.as_ref().and_then(ExitStatus::from_wait))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped && !matches!(self.try_reap(), Ok(Some(_))) {
            children::enrolled().remove(&self.pid());
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("pid", &self.pid())
            .field("pidfd", &self.pidfd.as_raw_fd())
            .finish_non_exhaustive()
    }
}

/// The process that a pidfd means, as the kernel shows it (`proc_pid_fdinfo(5)`).
fn pid_of(pidfd: &OwnedFd) -> Option<u32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let info = std::fs::read_to_string(path).ok()?;
    info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
}

/// The user that this process runs as (`getuid(2)`), which is also what the kernel says
/// of it to others.
#[must_use]
pub fn own_user() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Whether a process with this number runs, of whatever user. One that has ended and is not
/// reaped yet (a zombie) does not. By the time the answer is looked at it may be another one.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    let tested = to_rustix(pid).map(rustix::process::test_kill_process);
    tested.is_some_and(|tested| tested != Err(Errno::SRCH)) && !has_ended(pid)
}

/// A pidfd of a process that need not be a child, which polls readable from the moment it has
/// exited. Whoever has a number from elsewhere makes sure afterwards that it still means the same.
///
/// # Errors
///
/// `ESRCH` if there is no such process.
pub fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = to_rustix(pid).ok_or(Errno::SRCH)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// As proc(5) has it: the state is the first field behind the name, which is in parentheses.
fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, fields)| fields.trim_start().chars().next());
    matches!(state, Some('Z' | 'X'))
}

/// A process number for rustix; `None` for 0 and what is no `pid_t`.
fn to_rustix(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    /// Else [`reap_orphans`] would spare whoever gets the number next.
    #[test]
    fn a_reaped_number_is_not_ours_any_more() {
        let command = std::process::Command::new("/bin/true");
        let process = spawn(command, Spawn::default()).unwrap();
        let pid = process.pid();
        assert!(children::enrolled().contains(&pid));
        poll(&mut [PollFd::new(&process.pidfd, PollFlags::IN)], None).unwrap();
        assert_eq!(process.reap().unwrap().unwrap(), ExitStatus::Code(0));
        assert!(!children::enrolled().contains(&pid));
    }
}
