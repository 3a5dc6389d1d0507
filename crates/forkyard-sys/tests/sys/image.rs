//! A process that executes another program: what stays, and what does not.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use forkyard_sys::image::{Image, is_first_thread, own_path, replace};
use forkyard_sys::inherited::{InheritedFds, take_one};
use forkyard_sys::memory::{read_sealed, seal};
use forkyard_sys::process::{ExitStatus, Process, Signal, Spawn, spawn};
use rustix::io::{FdFlags, fcntl_getfd};

use crate::{own_process, waiting};

/// This test program, told to run one test, as the successor of the process that calls this.
pub fn successor(test: &str, variables: &[(&str, String)]) -> Image {
    let mut env: Vec<_> = std::env::vars_os().collect();
    env.retain(|(name, _)| variables.iter().all(|(new, _)| name != new));
    env.extend(variables.iter().map(|(name, value)| ((*name).into(), value.into())));
    let args = ["sys", "--exact", test, "--nocapture", "--test-threads=1"].map(OsString::from);
    Image { path: std::env::current_exe().unwrap(), args: args.into(), env }
}

fn number(name: &str) -> Option<i32> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn what_is_named_goes_along_and_nothing_else() {
    const NAME: &str = "image::what_is_named_goes_along_and_nothing_else";
    own_process::run(NAME, || {
        if let Some(kept) = number("KEPT") {
            let memory = take_one(kept).unwrap();
            assert_eq!(read_sealed(&memory, 100).unwrap(), b"what I know");
            assert!(fcntl_getfd(&memory).unwrap().contains(FdFlags::CLOEXEC));
            assert!(take_one(kept).is_err(), "it was taken before");
            assert!(take_one(number("LEFT").unwrap()).is_err(), "it was not named");
            assert!(InheritedFds::take().unwrap().get(kept).is_none());
            assert_eq!(std::process::id().to_string(), std::env::var("PID").unwrap());
            return;
        }
        let (kept, left) = (seal("a", b"what I know").unwrap(), seal("b", b"").unwrap());
        let variables = [
            ("KEPT", kept.as_raw_fd().to_string()),
            ("LEFT", left.as_raw_fd().to_string()),
            ("PID", std::process::id().to_string()),
        ];
        let error = replace(&successor(NAME, &variables), &[kept.as_fd()]);
        panic!("failed to execute: {error}");
    });
}

#[test]
fn a_failure_changes_nothing() {
    let memory = seal("test", b"").unwrap();
    let image = Image { path: PathBuf::from("/no/such/program"), args: vec![], env: vec![] };
    let error = replace(&image, &[memory.as_fd()]);
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert!(fcntl_getfd(&memory).unwrap().contains(FdFlags::CLOEXEC));
}

/// A child goes over to the next program, which can watch, signal and reap it.
#[test]
fn children_are_handed_over() {
    const NAME: &str = "image::children_are_handed_over";
    own_process::run(NAME, || {
        let mut command = Command::new("/bin/sleep");
        command.arg("100").stdin(Stdio::null());
        let Some(pidfd) = number("CHILD_FD") else {
            let child = spawn(command, Spawn::default()).unwrap();
            let fd = child.pidfd();
            let variables =
                [("CHILD", child.pid().to_string()), ("CHILD_FD", fd.as_raw_fd().to_string())];
            panic!("failed to execute: {}", replace(&successor(NAME, &variables), &[fd]));
        };
        let pid = u32::try_from(number("CHILD").unwrap()).unwrap();
        let pidfd = take_one(pidfd).unwrap();
        let copy = || pidfd.try_clone().unwrap();
        assert!(Process::inherit(std::process::id(), copy()).is_err(), "it is another one's");
        let child = Process::inherit(pid, copy()).unwrap();
        // Its death signal was for the end of the thread that has started it. In a test
        // program that is not the first one, so the child may have been killed by now.
        child.signal(Signal::KILL).unwrap();
        assert_eq!(waiting::until_reaped(child), ExitStatus::Signal(Signal::KILL));
        assert!(Process::inherit(pid, copy()).is_err(), "it has been reaped");
    });
}

#[test]
fn a_program_finds_its_own_file() {
    assert_eq!(fs::canonicalize(own_path().unwrap()).unwrap(), std::env::current_exe().unwrap());
    assert!(!is_first_thread(), "tests run on threads of their own");
}
