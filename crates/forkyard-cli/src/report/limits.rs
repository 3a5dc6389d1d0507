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

#[cfg(test)]
mod tests {
    use forkyard::{SlotId, WorkerId};
    use serde_json::Value;

    use super::*;

    const INFO: WorkerInfo = WorkerInfo { slot: SlotId(1), worker: WorkerId(7), pid: 4242 };

    #[test]
    fn people_and_machines_read_this() {
        let sizes = (ByteSize(320 << 20), ByteSize(300 << 20));
        let entry = memory_limit_exceeded(INFO, sizes, Duration::from_secs(120));
        assert_eq!(
            entry.text,
            "worker 7 in slot 1 (pid 4242) uses 320 MiB of memory, its limit is 300 MiB \
             (--max-memory): replacing it; the next one in this slot is replaced in 2m at the \
             earliest"
        );
        assert_eq!(
            Value::Object(entry.fields).to_string(),
            r#"{"bytes":335544320,"limit_bytes":314572800,"pause_ms":120000,"pid":4242,"slot":1,"worker":7}"#
        );
        let entry = memory_exhausted(INFO);
        assert!(entry.text.starts_with("worker 7 in slot 1 (pid 4242) was killed by the system"));
        assert_eq!(entry.event, "memory_exhausted");
    }
}
