//! Reloads of the command under test: asking for them, waiting for what they do, and
//! counting who was there meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::Signal;

use crate::{Event, Forkyard};

impl Forkyard {
    /// Asks for a reload by SIGHUP.
    pub fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Asks for a reload and waits until it has finished, being the one of this number.
    pub fn reload_through(&self, number: usize) -> Event {
        self.reload();
        self.wait_rolled(number)
    }

    /// Waits until as many reloads have finished, and gives the end of the last.
    ///
    /// # Panics
    ///
    /// When one failed, and as all waits.
    pub fn wait_rolled(&self, number: usize) -> Event {
        self.until(&format!("reload {number} to finish"), |events| {
            let failed = events.iter().find(|event| event.is("roll_failed"));
            assert!(failed.is_none(), "{failed:?}");
            events.iter().filter(|event| event.is("roll_finished")).nth(number - 1).cloned()
        })
    }

    /// Waits until this slot's successor is in this phase.
    pub fn wait_phase(&self, slot: i64, phase: &str) -> Event {
        self.wait_for(&format!("slot {slot} to be {phase}"), |event| {
            is_phase(event, phase) && event.slot() == slot
        })
    }

    /// The workers that sit in the slots now, in their order.
    #[must_use]
    pub fn seated(&self) -> Vec<i32> {
        let mut count = HeadCount::default();
        self.events().iter().for_each(|event| count.add(event));
        count.seats.into_values().collect()
    }
}

/// Whether this tells that a successor has come to this phase.
#[must_use]
pub fn is_phase(event: &Event, phase: &str) -> bool {
    event.is("roll_step") && event.text("phase") == phase
}

/// The phases that a successor went through in this slot, in order.
#[must_use]
pub fn phases(events: &[Event], slot: i64) -> Vec<&str> {
    let steps = events.iter().filter(|event| event.is("roll_step") && event.slot() == slot);
    let mut phases: Vec<_> = steps.map(|event| event.text("phase")).collect();
    phases.dedup();
    phases
}

/// The slots in the order in which their successors took over.
#[must_use]
pub fn order(events: &[Event]) -> Vec<i64> {
    events.iter().filter(|event| is_phase(event, "seated")).map(Event::slot).collect()
}

/// The most workers there ever were that were not on their way out.
#[must_use]
pub fn most_at_work(events: &[Event]) -> usize {
    let mut count = HeadCount::default();
    let counts = events.iter().map(|event| {
        count.add(event);
        count.at_work.len()
    });
    counts.max().unwrap_or_default()
}

/// Who is there and who sits where, as far as the events tell.
#[derive(Default)]
struct HeadCount {
    seats: BTreeMap<i64, i32>,
    /// All that have not ended and are not replaced.
    at_work: BTreeSet<i32>,
}

impl HeadCount {
    fn add(&mut self, event: &Event) {
        match event.name() {
            "worker_started" => {
                self.at_work.insert(event.pid());
                self.seats.entry(event.slot()).or_insert(event.pid());
            }
            "roll_step" if event.text("phase") == "seated" => {
                if let Some(before) = self.seats.insert(event.slot(), event.pid()) {
                    self.at_work.remove(&before);
                }
            }
            "worker_exited" => {
                self.at_work.remove(&event.pid());
                self.seats.retain(|_, pid| *pid != event.pid());
            }
            _ => {}
        }
    }
}
