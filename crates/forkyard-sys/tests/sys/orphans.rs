//! Reaping as PID 1 does, tried as a subreaper (`prctl(2)`), which gets orphans
//! in the same way.

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use forkyard_sys::process::{ExitStatus, Process, Spawn, is_init, reap_orphans, spawn};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::{own_process, waiting};

fn become_subreaper() {
    rustix::process::set_child_subreaper(Some(Pid::INIT)).unwrap();
}

fn start(script: &str) -> Process {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).stdin(Stdio::null());
    spawn(command, Spawn::default()).unwrap()
}

/// A process whose parent, reaped already, was our child.
fn orphan() -> OwnedFd {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "sleep 100 >/dev/null 2>&1 & echo $!"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut parent = spawn(command, Spawn::default()).unwrap();
    let orphan = waiting::read_pidfd(&parent.take_stdout().unwrap());
    assert_eq!(waiting::until_reaped(parent), ExitStatus::Code(0));
    orphan
}

fn end(orphan: &OwnedFd) {
    pidfd_send_signal(orphan, Signal::KILL).unwrap();
    waiting::until_readable(orphan);
}

#[test]
fn an_ordinary_process_is_not_init() {
    assert!(!is_init());
}

#[test]
fn no_children_are_no_error() {
    own_process::run("orphans::no_children_are_no_error", || {
        assert_eq!(reap_orphans(|_| false).unwrap(), 0);
    });
}

#[test]
fn exited_orphans_are_reaped_and_running_ones_left() {
    own_process::run("orphans::exited_orphans_are_reaped_and_running_ones_left", || {
        become_subreaper();
        let orphans = [orphan(), orphan(), orphan()];
        assert_eq!(reap_orphans(|_| false).unwrap(), 0);
        end(&orphans[0]);
        end(&orphans[2]);
        assert_eq!(reap_orphans(|_| false).unwrap(), 2);
        end(&orphans[1]);
        assert_eq!(reap_orphans(|_| false).unwrap(), 1);
    });
}

#[test]
fn ones_own_child_is_left_to_its_owner() {
    own_process::run("orphans::ones_own_child_is_left_to_its_owner", || {
        become_subreaper();
        let own = start("exit 7");
        waiting::until_readable(own.pidfd());
        let orphan = orphan();
        end(&orphan);

        let before = reap_orphans(|_| false).unwrap();
        assert_eq!(own.reap().unwrap().unwrap(), ExitStatus::Code(7));
        let after = reap_orphans(|_| false).unwrap();
        assert_eq!(before + after, 1);
    });
}

#[test]
fn a_claimed_child_is_left_to_its_owner() {
    own_process::run("orphans::a_claimed_child_is_left_to_its_owner", || {
        let mut own = Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().unwrap();
        let pid = Pid::from_raw(own.id().cast_signed()).unwrap();
        waiting::until_readable(pidfd_open(pid, PidfdFlags::empty()).unwrap());
        assert_eq!(reap_orphans(|pid| pid == own.id()).unwrap(), 0);
        assert_eq!(own.wait().unwrap().code(), Some(7));
    });
}

#[test]
fn a_dropped_process_becomes_a_stranger() {
    own_process::run("orphans::a_dropped_process_becomes_a_stranger", || {
        let process = start("exec sleep 100");
        let pidfd = process.pidfd().try_clone_to_owned().unwrap();
        drop(process);
        end(&pidfd);
        assert_eq!(reap_orphans(|_| false).unwrap(), 1);
    });
}

/// The child of a failed exec is reaped by the standard library, which panics if
/// it is gone.
#[test]
fn a_child_that_is_being_started_is_not_reaped() {
    own_process::run("orphans::a_child_that_is_being_started_is_not_reaped", || {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let reaper = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(reap_orphans(|_| false).unwrap(), 0);
                }
            });
            for _ in 0..200 {
                spawn(Command::new("/no/such/program"), Spawn::default()).unwrap_err();
                let started = start("exit 5");
                assert_eq!(waiting::until_reaped(started), ExitStatus::Code(5));
            }
            done.store(true, Ordering::Relaxed);
            reaper.join().unwrap();
        });
    });
}
