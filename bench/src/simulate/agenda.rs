//! Virtual time: what happens next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::connection::Key;

/// Something that happens at a moment that is known beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A client connects.
    Arrival,
    /// A client that has kept its connection asks again.
    Request(Key),
    /// A worker has finished what it was at.
    WorkerDone(usize),
    /// The primary has finished what it was at.
    PrimaryDone,
    /// The primary is to look at the lanes.
    Look,
    /// A deadline of the core's.
    Deadline,
}

/// Events in the order of their moments; those of one moment in the order in which they were
/// entered, so that a run depends on nothing but its seed.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    entered: u64,
    now: Duration,
}

impl Agenda {
    /// The moment of the event that came last, since the beginning.
    pub(super) fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    pub(super) fn at(&mut self, moment: Duration, event: Event) {
        self.entries.push(Reverse((moment.max(self.now), self.entered, event)));
        self.entered += 1;
    }

    /// Goes on to the next event.
    pub(super) fn next(&mut self) -> Option<Event> {
        let Reverse((moment, _, event)) = self.entries.pop()?;
        self.now = moment;
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_their_moment_and_then_as_they_were_entered() {
        let mut agenda = Agenda::default();
        agenda.after(Duration::from_secs(2), Event::Look);
        agenda.after(Duration::from_secs(1), Event::WorkerDone(2));
        agenda.after(Duration::from_secs(1), Event::WorkerDone(1));
        assert_eq!(agenda.next(), Some(Event::WorkerDone(2)));
        // What is in the past is done now.
        agenda.at(Duration::ZERO, Event::Arrival);
        assert_eq!(agenda.next(), Some(Event::WorkerDone(1)));
        assert_eq!(agenda.next(), Some(Event::Arrival));
        assert_eq!(agenda.now(), Duration::from_secs(1));
        assert_eq!(agenda.next(), Some(Event::Look));
        assert_eq!(agenda.next(), None);
    }
}
