//! Tells a worker that is blocked from one that waits for a processor like everybody else.
//!
//! Both leave connections waiting. But to have others serve these is of no use on a machine
//! that has no processor for anybody, and makes the shares uneven; so one that could run and has
//! not is waited for, though not for long.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use forkyard_core::WorkerId;
use forkyard_sys::process::Scheduling;

/// Before nobody is suspected, and the system is not asked, which takes its time.
const SUSPICIOUS: Duration = Duration::from_millis(8);
/// Whoever has run for so long and has taken nothing had its chance. Longer than an event loop that
/// is busy takes for what it has accepted, on a machine whose processors are all busy.
const CHANCE: Duration = Duration::from_millis(8);
/// Whoever has taken nothing for so long is not waited for any more.
const LONGEST: Duration = Duration::from_millis(100);

/// The workers that have left something waiting.
#[derive(Debug, Default)]
pub(super) struct Suspects(BTreeMap<WorkerId, Suspect>);

#[derive(Clone, Copy, Debug)]
struct Suspect {
    /// Since when it has taken nothing.
    since: Instant,
    /// How long it had run when that was noticed.
    ran: Duration,
}

impl Suspects {
    /// Nobody leaves anything waiting.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// A worker has ended.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.0.remove(&worker);
    }

    /// Whether a worker that has taken nothing since then has had no chance to yet. Of one of
    /// which the system tells nothing that is not assumed.
    pub(super) fn is_starved(
        &mut self,
        now: Instant,
        (worker, since): (WorkerId, Instant),
        scheduling: impl FnOnce() -> Option<Scheduling>,
    ) -> bool {
        if !(SUSPICIOUS..LONGEST).contains(&now.duration_since(since)) {
            return false;
        }
        let Some(Scheduling { ran, is_runnable }) = scheduling() else { return false };
        match self.0.get(&worker) {
            Some(suspect) if suspect.since == since => {
                is_runnable && ran.saturating_sub(suspect.ran) < CHANCE
            }
            _ => {
                self.0.insert(worker, Suspect { since, ran });
                is_runnable
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_could_run_and_has_not_is_waited_for_and_not_for_long() {
        let (mut suspects, start) = (Suspects::default(), Instant::now());
        let millis = Duration::from_millis;
        let runs = |ran| Some(Scheduling { ran: millis(ran), is_runnable: true });
        let sleeps = |ran| Some(Scheduling { ran: millis(ran), is_runnable: false });
        for (after, since, scheduling, starved) in [
            // Nobody is suspected yet.
            (5, 0, runs(70), false),
            // Noticed first, and never having run since.
            (10, 0, runs(70), true),
            (15, 0, runs(70), true),
            // It is busy, and then runs for longer than that and takes nothing.
            (18, 0, runs(77), true),
            (20, 0, runs(78), false),
            // It has taken something and gets behind once more.
            (28, 20, runs(80), true),
            (90, 20, runs(80), true),
            (119, 20, runs(80), true),
            (120, 20, runs(80), false),
            // It waits for something else.
            (130, 121, sleeps(80), false),
            (135, 121, None, false),
        ] {
            let (now, since) = (start + millis(after), start + millis(since));
            let found = suspects.is_starved(now, (WorkerId(1), since), || scheduling);
            assert_eq!(found, starved, "after {after} ms");
        }
    }
}
