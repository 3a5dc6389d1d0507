//! How many workers of an app are ready, out of how many.

use std::collections::BTreeSet;

use forkyard::{Event, SlotId, WorkerState, WorkerStatus};

/// Counts them.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Slots that have no worker and will get one.
    empty: BTreeSet<SlotId>,
    count: Count,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Slots whose worker is ready.
    pub(crate) ready: usize,
    /// Slots that are to have one that is, which those of spares are not.
    pub(crate) wanted: usize,
    /// Processes that have not ended.
    pub(crate) left: usize,
}

impl Tally {
    /// Whoever has no worker is not among those who are seen.
    pub(crate) fn hear(&mut self, event: &Event) {
        match event {
            Event::RestartScheduled { slot, .. } => drop(self.empty.insert(*slot)),
            Event::Started(info) => drop(self.empty.remove(&info.slot)),
            Event::SlotDone { slot } => drop(self.empty.remove(slot)),
            Event::Stopping { .. } => self.empty.clear(),
            _ => {}
        }
    }

    /// The workers as they are now.
    pub(crate) fn see(&mut self, workers: &[WorkerStatus]) {
        let slots = |wanted: &[WorkerState]| {
            let meant = workers.iter().filter(|worker| wanted.contains(&worker.state));
            meant.map(|worker| worker.info.slot).collect::<BTreeSet<_>>()
        };
        let ready = slots(&[WorkerState::Ready]);
        let mut wanted = slots(&[WorkerState::Ready, WorkerState::Starting]);
        wanted.extend(&self.empty);
        self.count = Count { ready: ready.len(), wanted: wanted.len(), left: workers.len() };
    }

    pub(crate) fn count(&self) -> Count {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use forkyard::{WorkerId, WorkerInfo};

    use super::*;

    fn workers(standing: &[(u32, WorkerState)]) -> Vec<WorkerStatus> {
        let status = |(number, (slot, state)): (usize, &(u32, WorkerState))| {
            let worker = WorkerId(number as u32);
            let info = WorkerInfo { slot: SlotId(*slot), worker, pid: 1 };
            WorkerStatus { info, state: *state, started: None, restarts: 0 }
        };
        standing.iter().enumerate().map(status).collect()
    }

    fn restart(slot: u32) -> Event {
        Event::RestartScheduled { slot: SlotId(slot), delay: Duration::ZERO, restarts: 1 }
    }

    #[test]
    fn slots_are_counted_not_processes() {
        use WorkerState::{Leaving, Ready, Spare, Starting, Successor};
        let mut tally = Tally::default();
        let all = [(0, Ready), (0, Successor), (1, Leaving), (1, Ready), (2, Starting), (3, Spare)];
        tally.see(&workers(&all));
        assert_eq!(tally.count(), Count { ready: 2, wanted: 3, left: 6 });
    }

    #[test]
    fn a_slot_that_waits_for_its_worker_is_wanted() {
        use WorkerState::{Ready, Starting};
        let mut tally = Tally::default();
        tally.hear(&restart(1));
        tally.see(&workers(&[(0, Ready)]));
        assert_eq!(tally.count(), Count { ready: 1, wanted: 2, left: 1 });
        let again = workers(&[(0, Ready), (1, Starting)]);
        tally.hear(&Event::Started(again[1].info));
        tally.see(&again);
        assert_eq!(tally.count(), Count { ready: 1, wanted: 2, left: 2 });
        tally.hear(&Event::SlotDone { slot: SlotId(1) });
        tally.see(&again[..1]);
        assert_eq!(tally.count(), Count { ready: 1, wanted: 1, left: 1 });
    }
}
