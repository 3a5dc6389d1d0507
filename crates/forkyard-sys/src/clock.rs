//! A clock whose readings mean the same in every process.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The time since some moment in the past that is the same for all processes until the
/// machine starts anew (`CLOCK_MONOTONIC`). [`std::time::Instant`] is the same clock, but
/// cannot be told to another process.
#[must_use]
pub fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}
