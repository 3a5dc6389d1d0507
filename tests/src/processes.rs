//! Processes as the system shows them: who is alive, whose child, with what open.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal to a process that the test or the command under test started.
///
/// # Panics
///
/// When there is no such process.
pub fn signal(pid: i32, signal: Signal) {
    let target = Pid::from_raw(pid).expect("a process id");
    kill_process(target, signal).unwrap_or_else(|error| panic!("signal to {pid}: {error}"));
}

/// Whether the process exists and has not ended. A zombie has ended.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// The letter of the process's state in `/proc`, if it exists.
#[must_use]
pub fn state(pid: i32) -> Option<char> {
    stat(pid)?.first()?.chars().next()
}

/// The children of a process, zombies among them.
#[must_use]
pub fn children(parent: i32) -> Vec<i32> {
    let parent = parent.to_string();
    let is_child = |pid: &i32| stat(*pid).is_some_and(|fields| fields.get(1) == Some(&parent));
    all().into_iter().filter(is_child).collect()
}

/// The processes that were started with this variable in their environment.
#[must_use]
pub fn with_environment(variable: &str) -> Vec<i32> {
    let has = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|entry| entry == variable.as_bytes())
    };
    all().into_iter().filter(has).collect()
}

/// How many descriptors the process has open.
///
/// # Panics
///
/// When the process is gone.
#[must_use]
pub fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the descriptors of a live process").count()
}

/// What the descriptors of a process are, for messages.
#[must_use]
pub fn descriptor_names(pid: i32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let name = |path: &Path| fs::read_link(path).map(|to| to.display().to_string()).ok();
    let mut names: Vec<_> = entries.filter_map(|entry| name(&entry.path())).collect();
    names.sort();
    names
}

/// How many connections wait in the accept queue of the TCP listener on this port of
/// 127.0.0.1; nothing if nobody listens there.
#[must_use]
pub fn accept_queue(port: u16) -> Option<u32> {
    const LISTEN: &str = "0A";
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let here = format!("0100007F:{port:04X}");
    table.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let listens = fields.get(1)? == &here && fields.get(3)? == &LISTEN;
        let (_, waiting) = fields.get(4)?.split_once(':')?;
        listens.then(|| u32::from_str_radix(waiting, 16).ok()).flatten()
    })
}

/// The resident memory of a process in bytes, as far as it is its own.
///
/// # Panics
///
/// When the process is gone.
#[must_use]
pub fn resident_bytes(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a live process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    let kibibytes = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB");
    kibibytes * 1024
}

/// The fields of `/proc/PID/stat` behind the name: state, parent, group, …
fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn all() -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
