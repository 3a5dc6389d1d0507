//! Ctrl-C and its like. They end the benchmark, but not at once: whoever waits here fails
//! with "interrupted", and on the way out everything that was started is ended.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::signal::unix::{SignalKind, signal};

/// Readable, for good, once a signal has come.
static CAME: OnceLock<UnixStream> = OnceLock::new();

/// What became of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The descriptor can be read.
    Ready,
    TimedOut,
}

/// From now on SIGINT, SIGTERM and SIGHUP make every [`wait`] fail.
///
/// A benchmark that is run by `nohup` is ended by SIGHUP too: ignoring it would be passed
/// on to the programs measured, and some of them reload on it.
pub(crate) fn watch() -> Result<()> {
    let (reader, writer) = UnixStream::pair().context("failed to make a pair of sockets")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.context("failed to watch for signals")?;
    let (mut interrupt, mut terminate, mut hang_up) = {
        let _entered = runtime.enter();
        let watched = |kind| signal(kind).context("failed to watch for signals");
        (
            watched(SignalKind::interrupt())?,
            watched(SignalKind::terminate())?,
            watched(SignalKind::hangup())?,
        )
    };
    CAME.set(reader).ok().context("signals are watched already")?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
        });
        // tokio leaves its handlers in place, so further signals change nothing.
        drop(writer);
    });
    Ok(())
}

/// Waits until `watched` can be read, at most for `limit`. Fails when interrupted.
pub(crate) fn wait(watched: BorrowedFd<'_>, limit: Duration) -> Result<Waited> {
    wait_for(Some(watched), limit)
}

/// Waits for time to pass. Fails when interrupted.
pub(crate) fn pause(time: Duration) -> Result<()> {
    wait_for(None, time).map(drop)
}

/// As [`wait`], but goes on when interrupted: for ending what was started.
pub(crate) fn wait_regardless(watched: BorrowedFd<'_>, limit: Duration) -> Result<Waited> {
    let mut watched = [PollFd::from_borrowed_fd(watched, PollFlags::IN)];
    poll_until(&mut watched, Instant::now() + limit)
}

fn wait_for(watched: Option<BorrowedFd<'_>>, limit: Duration) -> Result<Waited> {
    let came = CAME.get().map(AsFd::as_fd);
    let watch = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
    let mut all: Vec<_> = came.into_iter().chain(watched).map(watch).collect();
    let waited = poll_until(&mut all, Instant::now() + limit)?;
    if came.is_some() && !all[0].revents().is_empty() {
        bail!("interrupted");
    }
    Ok(waited)
}

fn poll_until(watched: &mut [PollFd<'_>], deadline: Instant) -> Result<Waited> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).context("failed to convert a time")?;
        match poll(watched, Some(&left)) {
            Ok(0) => return Ok(Waited::TimedOut),
            Ok(_) => return Ok(Waited::Ready),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("failed to wait"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_tells_ready_from_timed_out() {
        let (one, other) = UnixStream::pair().unwrap();
        let waited = wait(one.as_fd(), Duration::ZERO).unwrap();
        assert_eq!(waited, Waited::TimedOut);
        drop(other);
        let waited = wait(one.as_fd(), Duration::from_secs(60)).unwrap();
        assert_eq!(waited, Waited::Ready);
    }
}
