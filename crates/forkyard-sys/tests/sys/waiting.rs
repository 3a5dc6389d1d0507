//! Waiting for a condition with a deadline, never for time.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use forkyard_sys::process::{ExitStatus, Process};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Long enough for the slowest machine; only a failing test takes it.
const DEADLINE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// Waits until there is something to read, or the end.
pub fn until_readable(fd: impl AsFd) {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    assert_eq!(poll(&mut fds, Some(&DEADLINE)).unwrap(), 1, "nothing came before the deadline");
}

/// Waits until there is something to read at one of them, and says at which: the first, if
/// there are more.
pub fn until_one_is_readable(fds: &[BorrowedFd<'_>]) -> usize {
    let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let found = poll(&mut polled, Some(&DEADLINE)).unwrap();
    assert_ne!(found, 0, "nothing came before the deadline");
    polled.iter().position(|one| !one.revents().is_empty()).unwrap()
}

/// Waits until the condition holds, for what no descriptor tells.
pub fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come about before the deadline");
        std::thread::yield_now();
    }
}

/// Waits until the process has exited, and reaps it.
pub fn until_reaped(process: Process) -> ExitStatus {
    until_readable(process.pidfd());
    process.reap().unwrap().expect("the pidfd said it has exited")
}

/// Reads one line, at least as long as the writer takes to write it.
pub fn read_line(pipe: &OwnedFd) -> String {
    let mut pipe = std::fs::File::from(pipe.try_clone().unwrap());
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        until_readable(&pipe);
        if pipe.read(&mut byte).unwrap() == 0 || byte == *b"\n" {
            return String::from_utf8(line).unwrap();
        }
        line.extend(byte);
    }
}

/// Reads one line that is a process number and opens a pidfd of it.
pub fn read_pidfd(pipe: &OwnedFd) -> OwnedFd {
    let pid = Pid::from_raw(read_line(pipe).parse().unwrap()).unwrap();
    pidfd_open(pid, PidfdFlags::empty()).unwrap()
}
