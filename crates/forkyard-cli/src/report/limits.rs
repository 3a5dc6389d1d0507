//! What is told of workers that use too much.

use std::time::Duration;

use forkyard::WorkerInfo;

use super::{Entry, Level};
use crate::limits::ByteSize;

/// A worker is replaced because of its memory.
pub(super) fn memory_limit_exceeded(
    info: WorkerInfo,
    (used, limit): (ByteSize, ByteSize),
    pause: Duration,
) -> Entry {
    let text = format!(
        "worker {} in slot {} (pid {}) uses {used} of memory, its limit is {limit} (--max-memory): \
         replacing it; the next one in this slot is replaced in {} at the earliest",
        info.worker,
        info.slot,
        info.pid,
        humantime::format_duration(pause),
    );
    Entry::about(Level::Warn, "memory_limit_exceeded", info, text)
        .with("bytes", used.0)
        .with("limit_bytes", limit.0)
        .with("pause_ms", u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))
}

/// The system has killed a worker because all of them together have used too much.
pub(super) fn memory_exhausted(info: WorkerInfo) -> Entry {
    let text = format!(
        "worker {} in slot {} (pid {}) was killed by the system: the workers together have used \
         all the memory that they may (--cgroup-memory)",
        info.worker, info.slot, info.pid
    );
    Entry::about(Level::Error, "memory_exhausted", info, text)
}
