//! What a child does to itself between fork and exec.
//!
//! The order counts: descriptors and limits while it may still set them, then the other user,
//! then what the kernel has undone over that.

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::Command;
use std::ptr;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{
    Pid, Resource, Rlimit, getpid, getppid, set_parent_process_death_signal, setpriority_process,
    setrlimit,
};
use rustix::thread::set_no_new_privs;

use super::account::Change;
use super::announced::Announced;
use super::spawn::{FIRST, NewPrivileges, Spawn, SpawnError, Step};
use super::{Core, Signal, limits};

/// All that it takes, computed before the fork.
pub(super) struct Childhood {
    parent: Pid,
    /// Sockets and channel, in the order of their numbers in the child.
    given: Vec<OwnedFd>,
    /// What is executed if there are sockets.
    announced: Option<Announced>,
    nofile: Option<Rlimit>,
    core: Option<Core>,
    nice: Option<i32>,
    /// Where it enters its control group.
    cgroup: Option<OwnedFd>,
    change: Option<Change>,
    new_privileges: NewPrivileges,
    failure: Failure,
}

impl Childhood {
    pub(super) fn new(spawn: Spawn, command: &Command) -> Result<Self, SpawnError> {
        let sockets = spawn.sockets.len();
        let announced = (sockets > 0).then(|| Announced::new(command, sockets)).transpose()?;
        let behind = spawn.channel_number() + 1;
        // Out of the way, so that none is overwritten before it has been put in its place.
        let out_of_the_way = |fd: OwnedFd| fcntl_dupfd_cloexec(fd, behind);
        let given = spawn.sockets.into_iter().chain(spawn.channel);
        let given = given.map(out_of_the_way).collect::<Result<Vec<_>, _>>();
        let enter = |folder: &PathBuf| -> io::Result<OwnedFd> {
            let members = OpenOptions::new().write(true).open(folder.join("cgroup.procs"))?;
            Ok(out_of_the_way(members.into())?)
        };
        let cgroup = spawn.cgroup.as_ref().map(enter).transpose();
        let failure = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let nofile = match spawn.open_files {
            Some(limit) => Some(limit.rlimit()),
            None => spawn.nofile_soft.map(limits::nofile_limit_with_soft),
        };
        Ok(Self {
            parent: getpid(),
            given: given?,
            announced,
            nofile,
            core: spawn.core,
            nice: spawn.nice,
            cgroup: cgroup.map_err(|cause| Step::Cgroup.failed(cause))?,
            change: spawn.account.as_ref().and_then(super::Account::change),
            new_privileges: spawn.new_privileges,
            failure: Failure(out_of_the_way(failure?)?),
        })
    }

    /// Sees to it that the numbers of what is given are in use here while the child is made, so
    /// that none is given to the pipe by which the standard library hears of a failed exec.
    pub(super) fn reserve_numbers(&self) -> io::Result<Vec<OwnedFd>> {
        let mut reserved: Vec<OwnedFd> = Vec::new();
        let Some(any) = self.given.first() else { return Ok(reserved) };
        let last = FIRST + RawFd::try_from(self.given.len()).unwrap_or(RawFd::MAX - FIRST) - 1;
        while reserved.last().is_none_or(|lowest_free| lowest_free.as_raw_fd() < last) {
            reserved.push(fcntl_dupfd_cloexec(any, FIRST)?);
        }
        Ok(reserved)
    }

    /// Tells the parent at which step it failed.
    pub(super) fn failure(&self) -> io::Result<Failure> {
        Ok(Failure(self.failure.0.try_clone()?))
    }

    /// Async-signal-safe, see [`super::spawn`]. Does not return if it executes the program
    /// itself.
    pub(super) fn prepare(&mut self) -> io::Result<()> {
        let prepared = self.try_prepare();
        prepared.map_err(|error| {
            self.failure.tell(error.step);
            error.cause
        })
    }

    fn try_prepare(&mut self) -> Result<(), SpawnError> {
        self.die_with_parent()?;
        for (number, fd) in (FIRST..).zip(&self.given) {
            place(fd, number)?;
        }
        if let Some(core) = self.core {
            core.occupy()?;
        }
        self.take_limits()?;
        if let Some(change) = &self.change {
            change.make().map_err(|cause| Step::User.failed(cause))?;
        }
        if self.new_privileges == NewPrivileges::Refused {
            set_no_new_privs(true).map_err(|cause| Step::User.failed(cause))?;
        }
        if self.change.is_some() {
            // Forgotten when the user was changed.
            self.die_with_parent()?;
        }
        reset_signals()?;
        match &mut self.announced {
            Some(announced) => Err(announced.execute().into()),
            None => Ok(()),
        }
    }

    /// What is set while the process is still who its parent is.
    fn take_limits(&self) -> Result<(), SpawnError> {
        if let Some(members) = &self.cgroup {
            // 0 is whoever writes it (cgroups(7)).
            rustix::io::write(members, b"0").map_err(|cause| Step::Cgroup.failed(cause))?;
        }
        if let Some(limit) = self.nofile {
            setrlimit(Resource::Nofile, limit).map_err(|cause| Step::OpenFiles.failed(cause))?;
        }
        if let Some(nice) = self.nice {
            setpriority_process(None, nice).map_err(|cause| Step::Nice.failed(cause))?;
        }
        Ok(())
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

/// At which step a child has failed. Its own standard library tells its parent nothing but an
/// error's number.
pub(super) struct Failure(OwnedFd);

impl Failure {
    fn tell(&self, step: Step) {
        // A step that is not told is taken for the start as a whole.
        let _ = rustix::io::write(&self.0, &step.number().to_ne_bytes());
    }

    /// What the child has told.
    pub(super) fn step(self) -> Step {
        let mut number = [0; 8];
        let read = io::Read::read(&mut File::from(self.0), &mut number);
        read.map_or(Step::Start, |_| Step::of(u64::from_ne_bytes(number)))
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

pub(super) fn set_default(signal: Signal) -> io::Result<()> {
    // SAFETY: all zeros is a valid sigaction: SIG_DFL, no flags, an empty mask.
    let default: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `default` is valid and installs no handler.
    check(unsafe { libc::sigaction(signal.number(), &raw const default, ptr::null_mut()) })
}

pub(super) fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    #[test]
    fn a_child_whose_parent_is_gone_already_ends_before_the_program_starts() {
        let mut command = Command::new("/bin/true");
        let mut childhood = Childhood::new(Spawn::default(), &command).unwrap();
        childhood.parent = Pid::from_raw(i32::MAX).unwrap();
        // SAFETY: as in `spawn`.
        unsafe { command.pre_exec(move || childhood.prepare()) };
        let status = command.spawn().unwrap().wait().unwrap();
        assert_eq!(status.code(), Some(1));
    }
}
