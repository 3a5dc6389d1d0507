//! Whether a process gets a processor.

use std::fs;
use std::io;
use std::time::Duration;

/// What the system says of a process's first thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// How long it has run so far. May lag behind by a tick of the system's clock, which is a
    /// few milliseconds.
    pub ran: Duration,
    /// Whether it runs, or could if it got a processor.
    pub is_runnable: bool,
}

/// Looks at the first thread of a process (`/proc/PID/schedstat` and `stat`).
///
/// # Errors
///
/// - `NotFound` if there is no such process.
/// - `Unsupported` if the system does not tell: a kernel without `CONFIG_SCHED_INFO`.
pub fn scheduling(pid: u32) -> io::Result<Scheduling> {
    let untold = || io::Error::from(io::ErrorKind::Unsupported);
    let times = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let ran_ns = times.split_whitespace().next().and_then(|ran| ran.parse().ok());
    let stat = fs::read(format!("/proc/{pid}/stat"))?;
    Ok(Scheduling {
        ran: Duration::from_nanos(ran_ns.ok_or_else(untold)?),
        is_runnable: state(&stat).ok_or_else(untold)? == b'R',
    })
}

/// The letter behind the name, which may itself hold brackets and spaces.
fn state(stat: &[u8]) -> Option<u8> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(end + 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_stands_behind_the_name() {
        assert_eq!(state(b"7 (a) S b)) R 1 7"), Some(b'R'));
        assert_eq!(state(b"7 (sleep) S 1 7"), Some(b'S'));
        assert_eq!(state(b"7"), None);
    }

    #[test]
    fn whoever_runs_is_runnable_and_has_run() {
        // The test's own thread is not the first, but this process is there.
        let own = scheduling(std::process::id()).unwrap();
        assert!(scheduling(std::process::id()).unwrap().ran >= own.ran);
        let error = scheduling(u32::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
