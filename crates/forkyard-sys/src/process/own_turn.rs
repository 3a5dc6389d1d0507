//! How a thread shares its core with others.

use std::io;

/// Has the calling thread wait for its turn when there is something for it to do, instead of
/// interrupting whoever runs on its core at that moment: `SCHED_BATCH`, `sched(7)`. Its share of
/// the core stays the same, and on an idle core it runs at once.
///
/// For a thread that many others wake with small things: it then finds several at a time where
/// it had been woken for each. A thread that was given another policy than the ordinary one
/// keeps it.
///
/// # Errors
///
/// Those of `sched_setscheduler(2)`: `PermissionDenied` where a sandbox forbids it.
pub fn wait_for_own_turn() -> io::Result<()> {
    // SAFETY: asks for a number. 0 is the calling thread, here and below.
    if unsafe { libc::sched_getscheduler(0) } != libc::SCHED_OTHER {
        return Ok(());
    }
    // SAFETY: all zeros is a valid sched_param, and the only priority that there is under
    // SCHED_BATCH.
    let priority: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: `priority` is valid, and only read.
    let set = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const priority) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_concerns_the_calling_thread_alone() {
        // SAFETY: asks for a number.
        let policy = || unsafe { libc::sched_getscheduler(0) };
        let before = policy();
        let other = std::thread::spawn(move || {
            wait_for_own_turn().unwrap();
            policy()
        });
        assert_eq!((other.join().unwrap(), policy()), (libc::SCHED_BATCH, before));
    }
}
