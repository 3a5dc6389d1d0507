//! Looks at the memory of each worker every now and then, and has one that uses too much replaced.
//!
//! ```text
//!             above the limit
//!   looking ──────────────────▶ its slot is rolled ──over──▶ the slot has a pause ──over──▶ looking
//! ```
//!
//! One slot at a time, and none while a roll of somebody else's is under way. The pause of a slot
//! doubles while its workers go on exceeding the limit, so that a program that needs more than it
//! may from the start is replaced ever more seldom.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use forkyard::{ClusterHandle, RollTicket, SlotId, WorkerInfo, WorkerState, WorkerStatus};
use forkyard_sys::process::resident_bytes;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::ByteSize;
use crate::report::Reporter;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(3);
/// The first pause of a slot, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct MemoryWatch {
    limit: ByteSize,
    ticks: Option<Interval>,
    /// The end of the roll that this has asked for.
    asked: Option<JoinHandle<()>>,
    rolling: bool,
    pauses: Pauses,
}

impl MemoryWatch {
    pub(super) fn new(limit: ByteSize) -> Self {
        Self { limit, ticks: None, asked: None, rolling: false, pauses: Pauses::default() }
    }

    pub(super) fn roll_is_under_way(&mut self, rolling: bool) {
        self.rolling = rolling;
    }

    pub(super) async fn due(&mut self) {
        let ticks = self.ticks.get_or_insert_with(|| {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        ticks.tick().await;
    }

    pub(super) async fn look(&mut self, handle: &ClusterHandle, reporter: &Reporter) {
        if self.rolling || self.asked.as_ref().is_some_and(|asked| !asked.is_finished()) {
            return;
        }
        // A primary that has ended is noticed by its events.
        let workers = handle.workers().await.unwrap_or_default();
        let used = |info: WorkerInfo| Some((info, ByteSize(resident_bytes(info.pid).ok()?)));
        let used: Vec<_> = seated(&workers).filter_map(used).collect();
        let now = Instant::now();
        let Some((info, used)) = self.pauses.worst(&used, self.limit, now) else { return };
        // Whoever is stopping the app, or takes the slot away, has the last word.
        let Ok(ticket) = handle.restart(info.slot).await else { return };
        let pause = self.pauses.begin(info.slot, now);
        reporter.memory_limit_exceeded(info, (used, self.limit), pause);
        self.asked = Some(tokio::spawn(ended(ticket)));
    }
}

/// How it went is told by the primary.
async fn ended(ticket: RollTicket) {
    drop(ticket.finished().await);
}

/// The workers that serve.
fn seated(workers: &[WorkerStatus]) -> impl Iterator<Item = WorkerInfo> {
    workers.iter().filter(|worker| worker.state == WorkerState::Ready).map(|worker| worker.info)
}

/// Which slots are left alone for a while.
#[derive(Debug, Default)]
struct Pauses(BTreeMap<SlotId, Pause>);

#[derive(Clone, Copy, Debug)]
struct Pause {
    since: Instant,
    length: Duration,
}

impl Pauses {
    /// The worker that is the farthest above the limit, of those whose slots are not left alone.
    fn worst(
        &self,
        used: &[(WorkerInfo, ByteSize)],
        limit: ByteSize,
        now: Instant,
    ) -> Option<(WorkerInfo, ByteSize)> {
        let is_due = |slot| {
            let pause: Option<&Pause> = self.0.get(slot);
            pause.is_none_or(|pause| now.duration_since(pause.since) >= pause.length)
        };
        let above = used.iter().filter(|(info, used)| *used > limit && is_due(&info.slot));
        above.max_by_key(|(_, used)| *used).copied()
    }

    /// Leaves a slot alone from now on, and says for how long.
    fn begin(&mut self, slot: SlotId, now: Instant) -> Duration {
        let length = match self.0.get(&slot) {
            // Hardly was there one, and the limit was exceeded again.
            Some(last) if now.duration_since(last.since) < last.length * 2 => {
                (last.length * 2).min(LONGEST_PAUSE)
            }
            _ => FIRST_PAUSE,
        };
        self.0.insert(slot, Pause { since: now, length });
        length
    }
}

#[cfg(test)]
mod tests {
    use forkyard::WorkerId;

    use super::*;

    const LIMIT: ByteSize = ByteSize(1000);

    fn worker(slot: u32, worker: u32, pid: u32) -> WorkerInfo {
        WorkerInfo { slot: SlotId(slot), worker: WorkerId(worker), pid }
    }

    fn worst(pauses: &Pauses, used: &[(u32, u64)], now: Instant) -> Option<u32> {
        let used = used.iter().map(|(slot, bytes)| (worker(*slot, *slot, 1), ByteSize(*bytes)));
        let used: Vec<_> = used.collect();
        pauses.worst(&used, LIMIT, now).map(|(info, _)| info.slot.0)
    }

    #[test]
    fn the_farthest_above_the_limit_is_the_first() {
        let (pauses, now) = (Pauses::default(), Instant::now());
        assert_eq!(worst(&pauses, &[(0, 1000), (1, 999)], now), None);
        assert_eq!(worst(&pauses, &[(0, 1001), (1, 3000), (2, 2000)], now), Some(1));
    }

    /// One that needs more than it may from its start on is not replaced all the time.
    #[test]
    fn a_slot_that_goes_on_exceeding_is_left_alone_for_longer_and_longer() {
        let (mut pauses, mut now) = (Pauses::default(), Instant::now());
        let mut lengths = Vec::new();
        for _ in 0..8 {
            assert_eq!(worst(&pauses, &[(0, 2000)], now), Some(0));
            let length = pauses.begin(SlotId(0), now);
            lengths.push(length.as_secs() / 60);
            let last_moment = now + length - Duration::from_millis(1);
            assert_eq!(worst(&pauses, &[(0, 2000)], last_moment), None);
            assert_eq!(worst(&pauses, &[(0, 2000), (1, 1500)], last_moment), Some(1));
            now += length;
        }
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_slot_that_was_good_for_long_begins_anew() {
        let (mut pauses, now) = (Pauses::default(), Instant::now());
        assert_eq!(pauses.begin(SlotId(0), now), FIRST_PAUSE);
        assert_eq!(pauses.begin(SlotId(0), now + FIRST_PAUSE), FIRST_PAUSE * 2);
        assert_eq!(pauses.begin(SlotId(0), now + FIRST_PAUSE * 5), FIRST_PAUSE);
    }

    #[test]
    fn only_who_serves_is_looked_at() {
        let status = |info, state| WorkerStatus { info, state, started: None, restarts: 0 };
        let workers = [
            status(worker(0, 4, 14), WorkerState::Ready),
            status(worker(0, 1, 11), WorkerState::Leaving),
            status(worker(1, 2, 12), WorkerState::Ready),
            status(worker(1, 5, 0), WorkerState::Successor),
        ];
        let seated: Vec<_> = seated(&workers).collect();
        assert_eq!(seated, [worker(0, 4, 14), worker(1, 2, 12)]);
    }
}
