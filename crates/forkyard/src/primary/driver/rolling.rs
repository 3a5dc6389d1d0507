//! Who asks for a roll, and how it ends for whoever asked.

use std::time::Instant;

use forkyard_core::{Admission, Denied, Generation, Request, WorkerId};
use tokio::sync::oneshot;

use super::Driver;
use crate::event::Event;
use crate::primary::rolls::{RollEnd, Wanted};
use crate::roll::{RollError, RollFailure, RollPlan, RollTicket, WhenBusy};

impl Driver {
    /// Begins a roll, or has it wait for the one that is under way.
    pub(super) fn ask_for_roll(&mut self, wanted: Wanted) -> Result<RollTicket, Denied> {
        let (sender, end) = oneshot::channel();
        match self.begin_roll(&wanted) {
            Ok(()) => self.rolls.began(sender),
            Err(Denied::Rolling) if may_wait(&wanted) => {
                self.rolls.wait(wanted, sender).map_err(|_| Denied::Rolling)?;
            }
            Err(denied) => return Err(denied),
        }
        Ok(RollTicket { end })
    }

    fn begin_roll(&mut self, wanted: &Wanted) -> Result<(), Denied> {
        let request = match wanted {
            Wanted::One(slot) => Request::Replace(*slot),
            Wanted::All(plan) => Request::Roll(self.plan_for_core(plan)),
        };
        let admission = self.core.request(Instant::now(), request);
        let (core, rolls) = (&self.core, &mut self.rolls);
        match admission {
            Admission::Denied(denied) => {
                rolls.retain(|generation| core.needs(generation));
                Err(denied)
            }
            Admission::Accepted | Admission::AlreadySo | Admission::Forked(_) => Ok(()),
        }
    }

    fn plan_for_core(&mut self, plan: &RollPlan) -> forkyard_core::RollPlan {
        forkyard_core::RollPlan {
            generation: self.rolls.add(plan.program.clone()),
            workers: plan.workers.map(std::num::NonZeroUsize::get),
            surge: plan.surge,
        }
    }

    pub(super) fn roll_failed(
        &mut self,
        generation: Generation,
        worker: WorkerId,
        reason: RollFailure,
    ) {
        let Some(info) = self.seats.info(worker) else { return };
        let stderr_tail = self.tail_of(worker);
        self.rolls.failed(RollError::Failed {
            info,
            reason: reason.clone(),
            stderr_tail: stderr_tail.clone(),
        });
        self.emit(Event::RollFailed { generation, info, reason, stderr_tail });
    }

    /// The last lines of a worker that has ended come with the news of it.
    pub(super) fn tail_of(&self, worker: WorkerId) -> Vec<String> {
        match self.stderr_tail.is_empty() {
            true => self.seats.tail(worker),
            false => self.stderr_tail.clone(),
        }
    }

    pub(super) fn roll_ended(&mut self, generation: Generation) {
        let (core, rolls) = (&self.core, &mut self.rolls);
        rolls.ended(generation);
        rolls.retain(|generation| core.needs(generation));
        while let Some((wanted, end)) = self.rolls.next_waiting() {
            match self.begin_roll(&wanted) {
                Ok(()) => return self.rolls.began(end),
                Err(denied) => deny(end, denied),
            }
        }
    }
}

fn may_wait(wanted: &Wanted) -> bool {
    match wanted {
        Wanted::All(plan) => plan.when_busy == WhenBusy::Wait,
        Wanted::One(_) => true,
    }
}

/// What could be done when it was asked for cannot be done any more: its slot is gone, or the
/// app is stopping.
fn deny(end: RollEnd, denied: Denied) {
    // Nobody needs to be waiting.
    let _ = end.send(Err(RollError::Denied(denied)));
}
