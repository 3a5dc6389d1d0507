//! What a process has used, and its children, from `/proc` (`proc(5)`).

use std::fs;
use std::ops::Sub;
use std::time::Duration;

use anyhow::{Context, Result};

/// CPU time that a process has used, measured in two ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    /// By the scheduler, in nanoseconds, summed over the threads that live. A thread that
    /// has ended is missing; the primaries measured here keep theirs.
    pub(crate) scheduled: Duration,
    /// By the clock tick (10 ms), over all threads there ever were. Coarse; it is here to
    /// check the other one.
    pub(crate) ticked: Duration,
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            scheduled: self.scheduled.saturating_sub(before.scheduled),
            ticked: self.ticked.saturating_sub(before.ticked),
        }
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bytes(pub(crate) u64);

impl Bytes {
    pub(crate) fn as_mebibytes(self) -> f64 {
        self.0 as f64 / f64::from(1 << 20)
    }
}

/// Physical memory that a process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Now, shared pages of its program and libraries included.
    pub(crate) resident: Bytes,
    /// At most so far.
    pub(crate) peak: Bytes,
}

/// The CPU time a process has used so far.
pub(crate) fn cpu_time(pid: u32) -> Result<CpuTime> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.with_context(|| format!("failed to list the threads of {pid}"))?;
    let mut scheduled = Duration::ZERO;
    for task in tasks {
        // A thread may end between being listed and being read.
        if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
            scheduled += parse_schedstat(&text)?;
        }
    }
    let stat = read(pid, "stat")?;
    let ticks = parse_stat(&stat).with_context(|| format!("failed to read {stat:?}"))?;
    let per_second = rustix::param::clock_ticks_per_second();
    let ticked = Duration::from_secs_f64(ticks as f64 / per_second as f64);
    Ok(CpuTime { scheduled, ticked })
}

/// The memory a process has now.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let status = read(pid, "status")?;
    let field = |name| {
        parse_status(&status, name).with_context(|| format!("found no {name} for process {pid}"))
    };
    Ok(Memory { resident: field("VmRSS")?, peak: field("VmHWM")? })
}

/// The memory a process has now, shared pages included, counted page by page (`Rss` of
/// `smaps_rollup`). The kernel's own count, which [`memory`] has, may lag behind.
pub(crate) fn resident(pid: u32) -> Result<Bytes> {
    let rollup = read(pid, "smaps_rollup")?;
    parse_status(&rollup, "Rss").with_context(|| format!("found no Rss for process {pid}"))
}

/// The memory a process has now, with what several processes share divided among them (`Pss`
/// of `smaps_rollup`).
pub(crate) fn proportional(pid: u32) -> Result<Bytes> {
    let rollup = read(pid, "smaps_rollup")?;
    parse_status(&rollup, "Pss").with_context(|| format!("found no Pss for process {pid}"))
}

/// The children of a process. Every thread has its own list (`proc_pid_children(5)`).
pub(crate) fn children(pid: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).context("failed to list the threads")? {
        // A thread may end between being listed and being read.
        let list = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        children.extend(list.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(children)
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))
}

/// The first number of `schedstat`: nanoseconds on a CPU.
fn parse_schedstat(text: &str) -> Result<Duration> {
    let first = text.split_whitespace().next().unwrap_or_default();
    let nanoseconds = first.parse().with_context(|| format!("failed to read {text:?}"))?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// `utime` and `stime` of `stat`, fields 14 and 15. The name in field 2 may hold anything,
/// so counting begins behind its closing bracket.
fn parse_stat(text: &str) -> Option<u64> {
    let (_, behind_name) = text.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let utime: u64 = fields.next()?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    Some(utime + stime)
}

/// A size of `status`, which the kernel gives in what it calls kB.
fn parse_status(text: &str, name: &str) -> Option<Bytes> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.into_iter().find(|(key, _)| *key == name)?;
    let kibibytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(Bytes(kibibytes * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_begins_with_the_time_on_a_cpu() {
        assert_eq!(parse_schedstat("1500 37952 1\n").unwrap(), Duration::from_nanos(1500));
        assert!(parse_schedstat("").is_err());
    }

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let text = "4242 (a) b (c) S 1 4242 4242 0 -1 4194560 9 8 7 6 120 34 5 6 20 0 11 0 99\n";
        assert_eq!(parse_stat(text), Some(154));
        assert_eq!(parse_stat("4242 (cut) S 1"), None);
    }

    #[test]
    fn status_is_read_by_name() {
        let text = "Name:\tnode\nVmHWM:\t   50004 kB\nVmRSS:\t    7168 kB\nThreads:\t4\n";
        assert_eq!(parse_status(text, "VmRSS"), Some(Bytes(7 << 20)));
        assert_eq!(parse_status(text, "VmHWM"), Some(Bytes(50004 * 1024)));
        assert_eq!(parse_status(text, "VmSwap"), None);
        assert_eq!(parse_status(text, "Threads"), None);
    }

    #[test]
    fn this_process_can_be_measured() {
        let pid = std::process::id();
        let before = cpu_time(pid).unwrap();
        while (cpu_time(pid).unwrap() - before).scheduled < Duration::from_millis(20) {}
        let memory = memory(pid).unwrap();
        assert!(memory.resident > Bytes(0) && memory.resident <= memory.peak);
        let proportional = proportional(pid).unwrap();
        assert!(proportional > Bytes(0) && proportional <= resident(pid).unwrap());
    }

    #[test]
    fn children_are_listed() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let listed = children(std::process::id()).unwrap().contains(&child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(listed);
    }

    #[test]
    fn a_rollup_has_its_sizes_in_lines_too() {
        let text =
            "55d0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:    9000 kB\nPss:    1024 kB\n";
        assert_eq!(parse_status(text, "Pss"), Some(Bytes(1 << 20)));
        assert_eq!(parse_status(text, "Rss"), Some(Bytes(9000 << 10)));
    }
}
