//! Whatever processes the benchmark has caused are the benchmark's to end, also a daemon
//! that has detached itself, and also when the command that started it was cut off.
//!
//! The kernel helps: this process is a "child subreaper" (`prctl(2)`), so every orphan
//! among its descendants becomes its child, and a child's id is nobody else's before it
//! has been waited for.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal,
    set_child_subreaper, waitid,
};

use crate::interrupt::{self, Waited};
use crate::usage;

/// How long a killed process may take to end.
const END_LIMIT: Duration = Duration::from_secs(10);

/// From now on orphans among the descendants become children of this process.
pub(crate) fn adopt() -> Result<()> {
    // Any process id says "yes".
    let this = Some(rustix::process::getpid());
    set_child_subreaper(this).context("failed to become the parent of orphans")
}

/// A process that has been, or is going to be, adopted.
#[derive(Debug)]
pub(crate) struct Orphan {
    end: OwnedFd,
}

impl Orphan {
    /// Of a process that lives, or has not been waited for.
    pub(crate) fn new(pid: Pid) -> Result<Self> {
        let end = pidfd_open(pid, PidfdFlags::empty());
        Ok(Self { end: end.with_context(|| format!("failed to watch process {pid:?}"))? })
    }

    pub(crate) fn kill(&self) -> Result<()> {
        pidfd_send_signal(&self.end, Signal::KILL).context("failed to kill a process")
    }

    /// Waits for its end, also when interrupted; says whether it came in time.
    pub(crate) fn ends_within(&self, limit: Duration) -> Result<bool> {
        let ended = interrupt::wait_regardless(self.end.as_fd(), limit)? == Waited::Ready;
        if ended {
            // It may still be a child of another process, which then waits for it.
            let _ = waitid(WaitId::PidFd(self.end.as_fd()), WaitIdOptions::EXITED);
        }
        Ok(ended)
    }
}

/// Kills all children of this process and what they leave behind. Call it when nothing is
/// running any more that still should.
pub(crate) fn end_all() -> Result<()> {
    loop {
        let children = children()?;
        if children.is_empty() {
            return Ok(());
        }
        for pid in children {
            let orphan = Orphan::new(pid)?;
            // One that has ended by now is waited for all the same.
            let _ = orphan.kill();
            orphan.ends_within(END_LIMIT)?;
        }
    }
}

fn children() -> Result<Vec<Pid>> {
    let pids = usage::children(std::process::id())?;
    Ok(pids.into_iter().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect())
}
