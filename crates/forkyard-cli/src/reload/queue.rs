//! What is wanted while something else is under way, and who waits for it.

use std::collections::VecDeque;

use forkyard::SlotId;
use forkyard_control::server::Watcher;
use serde::{Deserialize, Serialize};

/// What can be wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wanted {
    /// The next generation, of what is on disk by then.
    Reload,
    /// Other workers of the same program.
    Restart(Seats),
}

/// Whose workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Seats {
    All,
    One(SlotId),
}

/// What waits, in the order in which it begins. The same thing waits once.
#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<(Wanted, Watchers)>);

/// Who wants to know how something goes. The control socket bounds how many there are.
#[derive(Debug, Default)]
pub(super) struct Watchers(Vec<Watcher>);

impl Queue {
    pub(super) fn of(waiting: &[Wanted]) -> Self {
        Self(waiting.iter().map(|wanted| (*wanted, Watchers::default())).collect())
    }

    pub(super) fn push(&mut self, wanted: Wanted, watcher: Option<Watcher>) {
        match self.0.iter_mut().find(|(waiting, _)| *waiting == wanted) {
            Some((_, watchers)) => watchers.add(watcher),
            None => {
                let mut watchers = Watchers::default();
                watchers.add(watcher);
                self.0.push_back((wanted, watchers));
            }
        }
    }

    pub(super) fn next(&mut self) -> Option<(Wanted, Watchers)> {
        self.0.pop_front()
    }

    /// Who waits for the last of them, if there is one.
    pub(super) fn last(&mut self) -> Option<&mut Watchers> {
        self.0.back_mut().map(|(_, watchers)| watchers)
    }

    /// Nothing waits any more. Returns who has.
    pub(super) fn clear(&mut self) -> Watchers {
        Watchers(self.0.drain(..).flat_map(|(_, watchers)| watchers.0).collect())
    }

    pub(super) fn wanted(&self) -> impl Iterator<Item = Wanted> {
        self.0.iter().map(|(wanted, _)| *wanted)
    }
}

impl Watchers {
    pub(super) fn add(&mut self, watcher: Option<Watcher>) {
        self.0.retain(|watcher| !watcher.is_gone());
        self.0.extend(watcher);
    }

    pub(super) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Watcher> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_thing_waits_once() {
        let mut queue = Queue::default();
        let slot = |slot| Wanted::Restart(Seats::One(SlotId(slot)));
        for wanted in [Wanted::Reload, slot(1), Wanted::Reload, slot(2), slot(1)] {
            queue.push(wanted, None);
        }
        assert_eq!(queue.wanted().collect::<Vec<_>>(), [Wanted::Reload, slot(1), slot(2)]);
    }
}
