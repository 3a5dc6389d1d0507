//! How much memory a process has.

use std::fs;
use std::io;

/// The bytes of a process that are in memory (its resident set), shared ones included, as
/// `/proc/PID/statm` has it (`proc(5)`); 0 for one that has ended and is not reaped.
///
/// # Errors
///
/// `NotFound` for a process that is not there.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    let pages = pages.ok_or(io::ErrorKind::InvalidData)?;
    // SAFETY: asks only.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Ok(pages.saturating_mul(u64::try_from(page).unwrap_or(4096)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_counted() {
        let before = resident_bytes(std::process::id()).unwrap();
        let used = vec![1_u8; 64 << 20];
        let after = resident_bytes(std::process::id()).unwrap();
        assert!(after >= before + (60 << 20), "{before} {after} {}", used.len());
        assert_eq!(resident_bytes(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
