//! Waiting for conditions that nobody announces: a file, a line of `/proc`.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::DEADLINE;

/// Waits until `probe` gives something and returns it.
///
/// # Panics
///
/// When the [`DEADLINE`] passes first; `what` says what was waited for.
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain for {what}");
        nap();
    }
}

/// Lets other threads and processes get on with it for a moment, between two probes.
pub(crate) fn nap() {
    let (_keeps_open, never_sent) = mpsc::sync_channel::<()>(1);
    let _ = never_sent.recv_timeout(Duration::from_millis(5));
}
