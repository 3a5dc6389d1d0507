//! Processes that run as another user, nicer, with other limits, in a control group.
//!
//! Some of it takes root, as whom the tests are run where they count; anybody else tests that it
//! is refused.

use std::fs;
use std::io::{Error, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use forkyard_sys::cgroup::{Cgroup, CgroupError, CgroupLimits};
use forkyard_sys::process::{
    Account, AccountError, ExitStatus, NewPrivileges, OpenFiles, Process, Signal, Spawn,
    SpawnError, Step, own_user, spawn,
};
use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    set_capabilities, set_keep_capabilities, set_thread_res_gid, set_thread_res_uid,
};

use crate::{own_process, waiting};

/// A user without any right, who is there on every system.
fn nobody() -> Account {
    Account::find("nobody", None).unwrap()
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// What a process says to its end.
fn said(command: Command, spawned: Spawn) -> String {
    let mut process = spawn(command, spawned).unwrap();
    let text = std::io::read_to_string(fs::File::from(process.take_stdout().unwrap())).unwrap();
    assert_eq!(waiting::until_reaped(process), ExitStatus::Code(0), "{text}");
    text
}

/// `/proc/PID/status` of a process that runs so.
fn status(spawned: Spawn) -> String {
    let mut command = Command::new("/bin/cat");
    command.arg("/proc/self/status").stdin(Stdio::null()).stdout(Stdio::piped());
    said(command, spawned)
}

fn field<'a>(status: &'a str, name: &str) -> Vec<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().split_whitespace().collect()
}

fn refused(spawned: Spawn) -> SpawnError {
    spawn(shell("exit 0"), spawned).unwrap_err()
}

fn as_user(account: Account) -> Spawn {
    Spawn { account: Some(account), ..Spawn::default() }
}

/// Whether this test can do what only root may. If not, all that can be tested is the refusal.
fn is_root_or_refused(test: &str) -> bool {
    if own_user() == 0 {
        return true;
    }
    let error = refused(as_user(nobody()));
    assert_eq!((error.step, error.kind()), (Step::User, ErrorKind::PermissionDenied), "{test}");
    assert!(matches!(nobody().check(), Err(AccountError::NotPermitted { .. })));
    false
}

/// Needs root.
#[test]
fn another_user_s_process_has_nothing_of_ours() {
    if !is_root_or_refused("another user") {
        return;
    }
    let account = Account { groups: vec![65534, 1, 2], ..nobody() };
    let status = status(as_user(account));
    assert_eq!(field(&status, "Uid"), ["65534"; 4]);
    assert_eq!(field(&status, "Gid"), ["65534"; 4]);
    assert_eq!(field(&status, "Groups"), ["1", "2", "65534"]);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(&status, set), ["0000000000000000"], "{set}");
    }
    assert_eq!(field(&status, "NoNewPrivs"), ["0"]);
}

/// Needs root. A service may have been given the right to change users without being root, and
/// that right would go on to whom it starts.
#[test]
fn what_a_user_other_than_root_was_given_is_not_passed_on() {
    if !is_root_or_refused("given privileges") {
        return;
    }
    const NAME: &str = "privileges::what_a_user_other_than_root_was_given_is_not_passed_on";
    own_process::run(NAME, || {
        become_daemon_with(CapabilitySet::all());
        nobody().check().unwrap();
        let status = status(as_user(nobody()));
        assert_eq!(field(&status, "Uid"), ["65534"; 4]);
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(field(&status, set), ["0000000000000000"], "{set}");
        }
    });
}

/// This thread, and what it starts.
fn become_daemon_with(wanted: CapabilitySet) {
    let wanted = wanted & capabilities(None).unwrap().permitted;
    set_keep_capabilities(true).unwrap();
    set_thread_res_gid(Gid::from_raw(1), Gid::from_raw(1), Gid::from_raw(1)).unwrap();
    set_thread_res_uid(Uid::from_raw(1), Uid::from_raw(1), Uid::from_raw(1)).unwrap();
    let sets = CapabilitySets { effective: wanted, permitted: wanted, inheritable: wanted };
    set_capabilities(None, sets).unwrap();
    for capability in wanted.iter() {
        configure_capability_in_ambient_set(capability, true).unwrap();
    }
}

/// Whoever cannot end a process is not to start it.
#[test]
fn without_the_right_to_change_users_it_is_refused() {
    const NAME: &str = "privileges::without_the_right_to_change_users_it_is_refused";
    own_process::run(NAME, || {
        if own_user() == 0 {
            become_daemon_with(CapabilitySet::SETUID | CapabilitySet::SETGID);
            nobody().check().unwrap_err();
            become_daemon_with(CapabilitySet::empty());
        }
        let error = nobody().check().unwrap_err().to_string();
        assert!(error.contains("nobody") && error.contains("CAP_SETUID"), "{error}");
        let error = refused(as_user(nobody()));
        assert_eq!((error.step, error.kind()), (Step::User, ErrorKind::PermissionDenied));
        assert!(error.to_string().contains("as its user"), "{error}");
    });
}

/// As for any program that is not there, and at that step.
#[test]
fn a_program_that_the_other_user_may_not_execute_is_told_as_such() {
    if !is_root_or_refused("a program out of reach") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    fs::copy("/bin/true", &program).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let error = spawn(Command::new(&program), as_user(nobody())).unwrap_err();
    assert_eq!((error.step, error.kind()), (Step::Start, ErrorKind::PermissionDenied));
}

#[test]
fn new_privileges_can_be_refused_for_good() {
    let spawned = Spawn { new_privileges: NewPrivileges::Refused, ..Spawn::default() };
    assert_eq!(field(&status(spawned), "NoNewPrivs"), ["1"]);
}

/// The primary's part: start a worker, tell its number, and hang.
#[expect(clippy::print_stdout, reason = "its stdout is a pipe to the test")]
fn start_worker_and_hang() {
    let mut command = Command::new("/bin/sleep");
    command.arg("100").stdin(Stdio::null());
    let worker = spawn(command, as_user(nobody())).unwrap();
    println!("worker\n{}", worker.pid());
    // Ends with the test that wrote nothing to stdin and holds it open.
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// Needs root. The system forgets who is to die with whom when the user is changed.
#[test]
fn a_worker_of_another_user_does_not_outlive_its_killed_primary() {
    const NAME: &str = "privileges::a_worker_of_another_user_does_not_outlive_its_killed_primary";
    if own_process::is_this(NAME) {
        return start_worker_and_hang();
    }
    if !is_root_or_refused("outliving") {
        return;
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

#[test]
fn a_process_is_as_nice_as_it_is_to_be() {
    let spawned = Spawn { nice: Some(7), ..Spawn::default() };
    assert_eq!(said(shell("nice"), spawned), "7\n");
}

#[test]
fn files_that_may_be_open_are_limited() {
    let open_files = Some(OpenFiles { soft: 100, hard: 120 });
    let spawned = Spawn { open_files, nofile_soft: Some(50), ..Spawn::default() };
    assert_eq!(said(shell("ulimit -Sn; ulimit -Hn"), spawned), "100\n120\n");
}

/// What may not be set is told by the step, and nothing has been started.
#[test]
fn limits_that_may_not_be_set_are_told_by_their_step() {
    const NAME: &str = "privileges::limits_that_may_not_be_set_are_told_by_their_step";
    own_process::run(NAME, || {
        if own_user() == 0 {
            become_daemon_with(CapabilitySet::empty());
        }
        let error = refused(Spawn { nice: Some(-10), ..Spawn::default() });
        assert_eq!((error.step, error.kind()), (Step::Nice, ErrorKind::PermissionDenied));
        let open_files = Some(OpenFiles { soft: 1 << 30, hard: 1 << 30 });
        let error = refused(Spawn { open_files, ..Spawn::default() });
        assert_eq!(error.step, Step::OpenFiles);
        let cgroup = Some(PathBuf::from("/no/such/group"));
        let error = refused(Spawn { cgroup, ..Spawn::default() });
        assert_eq!((error.step, error.kind()), (Step::Cgroup, ErrorKind::NotFound));
        assert!(Error::from(error).to_string().contains("control group"));
    });
}

/// Where control groups of version 2 are, this user may make one.
fn is_version_2_writable() -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut mounts = mounts.lines().filter(|line| line.contains(" - cgroup2 "));
    let mount = mounts.next().and_then(|line| line.split(' ').nth(4)).map(Path::new);
    mount.is_some_and(|mount| {
        let probe = mount.join(format!("forkyard-probe-{}", std::process::id()));
        fs::create_dir(&probe).and_then(|()| fs::remove_dir(&probe)).is_ok()
    })
}

/// Where the system has no control groups of version 2 to give away, that it says so.
#[test]
fn a_process_is_started_in_its_control_group() {
    let made = Cgroup::make("sys-test", &CgroupLimits::default());
    let group = match made {
        Ok(group) => group,
        Err(error) => {
            assert!(!is_version_2_writable(), "{error}");
            return;
        }
    };
    let cgroup = Some(group.folder().to_owned());
    let process = spawn(shell("exec sleep 100"), Spawn { cgroup, ..Spawn::default() }).unwrap();
    let members = fs::read_to_string(group.folder().join("cgroup.procs")).unwrap();
    assert_eq!(members.trim(), process.pid().to_string());
    assert_eq!(Cgroup::find("sys-test").unwrap().folder(), group.folder());
    assert_eq!(group.remove().unwrap_err().kind(), ErrorKind::ResourceBusy);
    end(process);
    group.remove().unwrap();
    assert!(Cgroup::find("sys-test").is_none());
}

fn end(process: Process) {
    process.signal(Signal::KILL).unwrap();
    waiting::until_reaped(process);
}

/// Limits hold where their controllers are to be had, and else nothing is made.
#[test]
fn a_control_group_has_its_limits_or_is_not_made() {
    let limits = CgroupLimits {
        memory_max_bytes: Some(64 << 20),
        memory_high_bytes: None,
        cpu_thousandths: Some(500),
    };
    match Cgroup::make("sys-limits", &limits) {
        Ok(group) => {
            let read = |file| fs::read_to_string(group.folder().join(file)).unwrap();
            assert_eq!(read("memory.max").trim(), (64 << 20).to_string());
            assert_eq!(read("cpu.max").trim(), "50000 100000");
            assert_eq!(group.oom_kills(), 0);
            group.remove().unwrap();
        }
        Err(error) => {
            assert!(!matches!(error, CgroupError::Io { .. }) || own_user() != 0, "{error}");
            assert!(Cgroup::find("sys-limits").is_none());
        }
    }
}
