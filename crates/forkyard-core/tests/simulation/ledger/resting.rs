//! What holds when nothing moves any more.

use forkyard_core::{IdleRule, ListenerId, Role};

use super::{Keeper, Ledger, Owner, Seat, Violation};

impl Ledger {
    /// A running app at rest: every wanted slot is up or done, and nobody waits for nothing.
    pub fn is_at_rest(&self) -> Result<(), Violation> {
        for (slot, entry) in &self.slots {
            let is_up = match entry.seat {
                Seat::Taken(worker) => self.workers[&worker].is_up(),
                Seat::Done => true,
                Seat::New | Seat::Empty => false,
            };
            ensure!(is_up, "{slot} is neither up nor done: {:?}", entry.seat);
        }
        ensure!(self.roll.is_none(), "the roll has come to no end");
        self.is_of_one_generation()?;
        let is_idle = self.slots.values().all(|slot| slot.seat == Seat::Done);
        let may_idle = self.rules.when_idle == IdleRule::Wait || self.slots.is_empty();
        ensure!(!is_idle || may_idle, "all slots are done, but it has not finished");
        for (id, worker) in &self.workers {
            let awaits = worker.is_up() && self.role_of(worker.slot) == Role::Serving;
            let unanswered = if awaits { worker.questions } else { 0 };
            ensure!(unanswered == 0, "{id} waits for {unanswered} answers");
        }
        for (id, _) in self.open_listeners() {
            let is_apps = self.keepers.contains(&(id, Keeper::App));
            ensure!(is_apps || self.has_member(id), "L{id} is open for nobody");
        }
        self.are_settled()
    }

    /// But for seats that could not be given back.
    fn is_of_one_generation(&self) -> Result<(), Violation> {
        for (id, worker) in self.workers.iter().filter(|(_, worker)| worker.is_up()) {
            let is_excused = self.slots.get(&worker.slot).is_some_and(|slot| slot.is_stuck);
            ensure!(
                worker.generation == self.generation || is_excused,
                "{id} is of generation {} and not {}",
                worker.generation,
                self.generation
            );
        }
        Ok(())
    }

    pub fn has_member(&self, id: ListenerId) -> bool {
        self.workers.values().any(|worker| worker.is_up() && worker.members_of.contains(&id))
    }

    /// A stopped app at rest: finished, and nothing is left of it.
    pub fn is_over(&self) -> Result<(), Violation> {
        ensure!(self.finish.is_some(), "it never finished");
        self.are_settled()
    }

    /// Only who was offered to a worker whose channel has no end may wait for its answer.
    fn are_settled(&self) -> Result<(), Violation> {
        for (id, connection) in &self.connections {
            let is_settled = match connection.owner {
                Owner::Served | Owner::Dropped => true,
                Owner::Offered(worker) => {
                    let worker = &self.workers[&worker];
                    worker.is_gone && !worker.channel_ended
                }
                Owner::Waiting | Owner::Answered => false,
            };
            ensure!(is_settled, "c{id} is still {:?}", connection.owner);
        }
        Ok(())
    }
}
