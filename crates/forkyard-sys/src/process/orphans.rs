//! The duty of PID 1: to reap the children others left behind.

use std::io;
use std::mem::MaybeUninit;

use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, waitid};

use super::children;

/// Whether this process is PID 1, to which the kernel gives every orphan of its
/// PID namespace.
#[must_use]
pub fn is_init() -> bool {
    getpid() == Pid::INIT
}

/// Reaps exited children that nobody else will: neither a [`super::Process`] nor
/// the owner of a number that `is_own` claims. Returns how many. To be called by
/// PID 1 (or a subreaper) on `SIGCHLD` and after reaping a child of its own.
///
/// The kernel shows exited children one at a time, in no useful order, so this
/// stops at the first that has an owner; when that is reaped, call again.
///
/// `is_own` must not start or reap processes. It is only needed for children
/// that were not started by [`super::spawn`].
///
/// # Errors
///
/// Those of `waitid(2)`; having no children is none.
pub fn reap_orphans(mut is_own: impl FnMut(u32) -> bool) -> io::Result<usize> {
    let _quiet = children::while_none_spawns();
    let mut reaped = 0;
    while let Some(pid) = peek_exited()? {
        let enrolled = children::enrolled();
        if enrolled.contains(&pid) || is_own(pid) {
            break;
        }
        reaped += usize::from(reap_stranger(pid)?);
    }
    Ok(reaped)
}

/// The number of some exited child, which stays unreaped.
fn peek_exited() -> io::Result<Option<u32>> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    loop {
        // SAFETY: `info` is a writable siginfo_t. rustix has waitid too, but not
        // the number of the child it found.
        let result = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) };
        if result == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ECHILD) => return Ok(None),
            _ => return Err(error),
        }
    }
    // SAFETY: zeroed to begin with, which is a valid siginfo_t, and filled in by
    // waitid; si_pid is 0 if no child has exited (waitid(2)).
    let pid = unsafe { info.assume_init().si_pid() };
    Ok(u32::try_from(pid).ok().filter(|pid| *pid != 0))
}

/// Reaps that child; `false` if somebody else was faster.
fn reap_stranger(pid: u32) -> io::Result<bool> {
    let Some(pid) = super::to_rustix(pid) else { return Ok(false) };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match retry_on_intr(|| waitid(WaitId::Pid(pid), options)) {
        Ok(status) => Ok(status.is_some()),
        Err(Errno::CHILD) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
