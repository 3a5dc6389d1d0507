//! What a process has taken of the machine.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};

/// What the system says of a process. Its children are not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Who has started it, or has taken it over from whoever did.
    pub parent: u32,
    /// For how long its threads have run so far, to the tick of the system's clock, which is
    /// 10 ms as a rule.
    pub cpu: Duration,
    /// How much of it is in memory, shared pages included, in bytes. May lag behind by a few
    /// dozen pages for each of its threads.
    pub resident_bytes: u64,
}

/// Looks at a process (`/proc/PID/stat`; see `proc_pid_stat(5)`).
///
/// # Errors
///
/// `NotFound` if there is no such process, `InvalidData` if the file makes no sense.
pub fn usage(pid: u32) -> io::Result<Usage> {
    let stat = match fs::read(format!("/proc/{pid}/stat")) {
        // It ended between the opening and the reading.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
            return Err(io::ErrorKind::NotFound.into());
        }
        stat => stat?,
    };
    let fields = Fields::of(&stat).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Usage {
        parent: fields.parent,
        cpu: ticks(fields.user.saturating_add(fields.system)),
        resident_bytes: fields.resident_pages.saturating_mul(page_size() as u64),
    })
}

fn ticks(count: u64) -> Duration {
    let a_second = clock_ticks_per_second().max(1);
    Duration::from_secs(count / a_second)
        + Duration::from_nanos(count % a_second * 1_000_000_000 / a_second)
}

/// The fields that are of interest, as they stand in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fields {
    parent: u32,
    user: u64,
    system: u64,
    resident_pages: u64,
}

impl Fields {
    /// The name may itself hold brackets and spaces. Behind it the fields are counted from 3.
    fn of(stat: &[u8]) -> Option<Self> {
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let behind = std::str::from_utf8(&stat[end + 1..]).ok()?;
        let fields: Vec<_> = behind.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(number(4)?).ok()?,
            user: number(14)?,
            system: number(15)?,
            resident_pages: number(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_counted_behind_the_name() {
        let stat = b"7 (a) R 9 (b)) S 4 7 7 0 -1 0 1 2 3 4 50 60 5 6 20 0 3 0 800 9 120 18446744073709551615 1";
        let fields = Fields { parent: 4, user: 50, system: 60, resident_pages: 120 };
        assert_eq!(Fields::of(stat), Some(fields));
        assert_eq!(Fields::of(b"7 (a) S 4 7"), None);
        assert_eq!(Fields::of(b""), None);
    }

    #[test]
    fn this_process_is_there_and_nobody_is_not() {
        let own = usage(std::process::id()).unwrap();
        assert_eq!(own.parent, std::os::unix::process::parent_id());
        assert!(own.resident_bytes > 100_000, "{own:?}");
        assert_eq!(usage(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
