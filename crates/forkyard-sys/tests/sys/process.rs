//! Starting, signalling, watching and reaping processes.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::ptr;

use forkyard_sys::channel::channel_pair;
use forkyard_sys::inherited::InheritedFds;
use forkyard_sys::process::{
    ExitStatus, Process, Signal, Spawn, is_ignored, raise_nofile_limit, spawn,
};
use rustix::process::{Pid, Resource, Rlimit, getpgid, getrlimit, setrlimit};

use crate::{own_process, waiting};

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).stdin(Stdio::null());
    command
}

fn start(script: &str) -> Process {
    spawn(shell(script), Spawn::default()).unwrap()
}

/// Starts it and gives the pipe of its stdout too.
fn start_talking(script: &str, extra: Spawn) -> (Process, OwnedFd) {
    start_piped(shell(script), extra)
}

fn start_piped(mut command: Command, extra: Spawn) -> (Process, OwnedFd) {
    command.stdout(Stdio::piped());
    let mut process = spawn(command, extra).unwrap();
    let stdout = process.take_stdout().unwrap();
    (process, stdout)
}

#[test]
fn an_exit_code_is_reported() {
    let status = waiting::until_reaped(start("exit 7"));
    assert_eq!(status, ExitStatus::Code(7));
    assert_eq!(status.to_string(), "code 7");
}

#[test]
fn an_ending_signal_is_reported() {
    let process = start("exec sleep 100");
    process.signal(Signal::TERM).unwrap();
    let status = waiting::until_reaped(process);
    assert_eq!(status, ExitStatus::Signal(Signal::TERM));
    assert_eq!(status.to_string(), "signal SIGTERM");
}

#[test]
fn a_running_process_is_not_exited_and_reaping_gives_it_back() {
    let process = start("exec sleep 100");
    assert_eq!(process.exited().unwrap(), None);
    let process = process.reap().unwrap().unwrap_err();
    process.signal(Signal::KILL).unwrap();
    assert_eq!(waiting::until_reaped(process), ExitStatus::Signal(Signal::KILL));
}

#[test]
fn asking_does_not_reap() {
    let process = start("exit 3");
    let proc_entry = PathBuf::from(format!("/proc/{}", process.pid()));
    waiting::until_readable(process.pidfd());
    assert_eq!(process.exited().unwrap(), Some(ExitStatus::Code(3)));
    assert_eq!(process.exited().unwrap(), Some(ExitStatus::Code(3)));
    assert!(proc_entry.exists());
    process.signal(Signal::TERM).unwrap();
    process.signal_group(Signal::TERM).unwrap();
    assert_eq!(process.reap().unwrap().unwrap(), ExitStatus::Code(3));
}

#[test]
fn dropping_an_exited_process_reaps_it() {
    let process = start("exit 0");
    let pidfd = process.pidfd().try_clone_to_owned().unwrap();
    waiting::until_readable(&pidfd);
    drop(process);
    let error = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::TERM);
    assert_eq!(error, Err(rustix::io::Errno::SRCH));
}

#[test]
fn it_leads_a_group_of_its_own() {
    let process = start("exec sleep 100");
    let pid = Pid::from_raw(process.pid().cast_signed());
    assert_eq!(getpgid(pid).ok(), pid);
    process.signal(Signal::KILL).unwrap();
    waiting::until_reaped(process);
}

#[test]
fn a_signal_to_the_group_reaches_grandchildren() {
    let (process, stdout) = start_talking("sleep 100 & echo $!; wait", Spawn::default());
    let grandchild = waiting::read_pidfd(&stdout);
    process.signal_group(Signal::KILL).unwrap();
    waiting::until_readable(&grandchild);
    assert_eq!(waiting::until_reaped(process), ExitStatus::Signal(Signal::KILL));
}

#[test]
fn the_group_is_reached_after_its_leader_exited() {
    let (process, stdout) = start_talking("sleep 100 >/dev/null 2>&1 & echo $!", Spawn::default());
    let grandchild = waiting::read_pidfd(&stdout);
    waiting::until_readable(process.pidfd());
    process.signal_group(Signal::KILL).unwrap();
    waiting::until_readable(&grandchild);
}

#[test]
fn a_missing_program_is_an_error() {
    let error = spawn(Command::new("/no/such/program"), Spawn::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_file_that_may_not_be_executed_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let (_ours, theirs) = channel_pair().unwrap();
    let extra = Spawn { channel: Some(theirs), ..Spawn::default() };
    let error = spawn(Command::new(file.path()), extra).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn too_long_arguments_are_an_error() {
    let mut command = Command::new("/bin/true");
    command.arg("x".repeat(1 << 20));
    let error = spawn(command, Spawn::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ArgumentListTooLong);
}

/// The numbers another process has open.
fn open_in(process: &Process) -> BTreeSet<i32> {
    let entries = fs::read_dir(format!("/proc/{}/fd", process.pid())).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn a_child_has_what_it_was_given_and_nothing_else() {
    // What cargo or a CI runner left open is not what is tested here.
    let _strays = InheritedFds::take().unwrap();
    let (_ours, channel) = channel_pair().unwrap();
    let (_other_worker_ours, _other_worker_theirs) = channel_pair().unwrap();
    let listener = OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let second = OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let expected = BTreeSet::from([0, 1, 2, 3, 4, 5]);
    let targets = [(3, &listener), (4, &second), (5, &channel)].map(|(number, fd)| {
        let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
        (number, link)
    });

    let sockets = vec![listener, second];
    let extra = Spawn { channel: Some(channel), sockets, ..Spawn::default() };
    assert_eq!(extra.channel_number(), 5);
    let (process, stdout) = start_talking("echo ready; kill -STOP $$", extra);
    assert_eq!(waiting::read_line(&stdout), "ready");
    assert_eq!(open_in(&process), expected);
    for (number, link) in targets {
        let theirs = fs::read_link(format!("/proc/{}/fd/{number}", process.pid())).unwrap();
        assert_eq!(theirs, link);
    }
    process.signal(Signal::KILL).unwrap();
    waiting::until_reaped(process);
}

#[test]
fn the_parent_keeps_no_copy_of_the_channel() {
    let (ours, theirs) = channel_pair().unwrap();
    let process =
        spawn(shell("exec sleep 100"), Spawn { channel: Some(theirs), ..Spawn::default() })
            .unwrap();
    process.signal(Signal::KILL).unwrap();
    waiting::until_readable(&ours);
    waiting::until_reaped(process);
}

/// By the variables of sd_listen_fds(3), and only if there are any.
#[test]
fn a_child_is_told_of_its_sockets() {
    let listener = || OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let talk = "test $LISTEN_PID = $$ && echo $LISTEN_FDS$LISTEN_FDNAMES $OWN \"$1\"";
    let command = |talk: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", talk, "sh", "an argument"]).env("OWN", "yes");
        command.env("LISTEN_PID", "1").env("LISTEN_FDNAMES", "a:b:c");
        command
    };
    let extra = Spawn { sockets: vec![listener(), listener()], ..Spawn::default() };
    let (process, stdout) = start_piped(command(talk), extra);
    assert_eq!(waiting::read_line(&stdout), "2 yes an argument");
    assert_eq!(waiting::until_reaped(process), ExitStatus::Code(0));

    let (process, stdout) = start_piped(command("echo $LISTEN_FDS."), Spawn::default());
    assert_eq!(waiting::read_line(&stdout), ".");
    assert_eq!(waiting::until_reaped(process), ExitStatus::Code(0));
}

#[test]
fn a_program_that_is_not_there_is_told_with_sockets_too() {
    let listener = OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let extra = Spawn { sockets: vec![listener], ..Spawn::default() };
    let error = spawn(Command::new("/no/such/program"), extra).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_signal_is_ignored_from_then_on() {
    own_process::run("process::a_signal_is_ignored_from_then_on", || {
        assert!(!is_ignored(Signal::TERM).unwrap());
        forkyard_sys::process::ignore(Signal::TERM).unwrap();
        assert!(is_ignored(Signal::TERM).unwrap());
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)
            .unwrap();
        let refused = forkyard_sys::process::ignore(Signal::KILL).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
    });
}

#[test]
fn the_soft_limit_of_open_files_is_raised_here_and_given_back_to_the_child() {
    const NAME: &str =
        "process::the_soft_limit_of_open_files_is_raised_here_and_given_back_to_the_child";
    own_process::run(NAME, || {
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(200), ..before }).unwrap();

        let former = raise_nofile_limit().unwrap();
        assert_eq!(former, Some(200));
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
        assert_eq!(raise_nofile_limit().unwrap(), None);

        let restored = Spawn { nofile_soft: former, ..Spawn::default() };
        let (process, stdout) = start_talking("ulimit -Sn; ulimit -Hn", restored);
        assert_eq!(waiting::read_line(&stdout), "200");
        assert_eq!(waiting::read_line(&stdout), before.maximum.unwrap().to_string());
        waiting::until_reaped(process);
    });
}

/// Ignores a signal in this process.
fn ignore(signal: libc::c_int) {
    // SAFETY: SIG_IGN installs no handler.
    assert_ne!(unsafe { libc::signal(signal, libc::SIG_IGN) }, libc::SIG_ERR);
}

/// Blocks a signal in this thread.
fn block(signal: libc::c_int) {
    // SAFETY: the set is initialized by sigemptyset and lives long enough.
    let error = unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut())
    };
    assert_eq!(error, 0);
}

/// A set of `/proc/PID/status` without signals 32 and 33, which libc keeps.
fn signal_set(status: &str, name: &str) -> u64 {
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let set = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
    set & !(0b11 << 31)
}

#[test]
fn a_child_starts_with_no_signal_blocked_or_ignored() {
    own_process::run("process::a_child_starts_with_no_signal_blocked_or_ignored", || {
        ignore(libc::SIGHUP);
        ignore(libc::SIGPIPE);
        ignore(libc::SIGRTMAX());
        block(libc::SIGTERM);
        let mut command = Command::new("/bin/cat");
        command.arg("/proc/self/status").stdout(Stdio::piped());
        let mut process = spawn(command, Spawn::default()).unwrap();
        let stdout = process.take_stdout().unwrap();
        let status: String = std::io::read_to_string(fs::File::from(stdout)).unwrap();
        assert_eq!(signal_set(&status, "SigBlk"), 0, "{status}");
        assert_eq!(signal_set(&status, "SigIgn"), 0, "{status}");
    });
}

#[test]
fn how_a_child_ended_is_known_even_if_sigchld_was_ignored() {
    own_process::run("process::how_a_child_ended_is_known_even_if_sigchld_was_ignored", || {
        ignore(libc::SIGCHLD);
        assert_eq!(waiting::until_reaped(start("exit 7")), ExitStatus::Code(7));
    });
}

/// The primary's part: start a worker, tell its number, and hang.
#[expect(clippy::print_stdout, reason = "its stdout is a pipe to the test")]
fn start_worker_and_hang() {
    let worker = start("exec sleep 100");
    println!("worker\n{}", worker.pid());
    // Ends with the test that wrote nothing to stdin and holds it open.
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
fn a_worker_does_not_outlive_its_killed_primary() {
    const NAME: &str = "process::a_worker_does_not_outlive_its_killed_primary";
    if own_process::is_this(NAME) {
        return start_worker_and_hang();
    }
    let mut command = own_process::command(NAME);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut primary = command.spawn().unwrap();
    let stdout = OwnedFd::from(primary.stdout.take().unwrap());
    while !waiting::read_line(&stdout).ends_with("worker") {}
    let worker = waiting::read_pidfd(&stdout);
    primary.kill().unwrap();
    primary.wait().unwrap();
    waiting::until_readable(worker.as_fd());
}
