//! What the supervisor has decided, in the order in which it is to be carried out.
//!
//! Actions and notices stand in one row. A notice changes who gets connections, so its place
//! matters: routing to a worker stops before that is asked to leave, and an event that says so
//! comes after it.

use std::collections::VecDeque;

use crate::dispatch::Standing;
use crate::event::{Event, Outcome};
use crate::id::{SlotId, WorkerId};
use crate::input::Action;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Act(Action),
    Notify(Notice),
}

/// What the dispatcher has to know; it answers with actions of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Comes after the worker's spawn, which makes the lanes that it is dealt to.
    Started {
        worker: WorkerId,
        slot: SlotId,
        standing: Standing,
    },
    /// A worker that was held back, or a spare, serves from now on.
    Serves {
        worker: WorkerId,
    },
    Leaving {
        worker: WorkerId,
        refill: Refill,
    },
    NeverWas {
        worker: WorkerId,
    },
    Settled {
        slot: SlotId,
    },
    SlotGone {
        slot: SlotId,
    },
    StopAll,
    /// Comes after the listeners are closed, so that nothing is left to do then.
    Finished(Outcome),
}

/// Whether somebody will want what a leaving worker listened on and nobody has asked for
/// yet: the next worker in its seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refill {
    Yes,
    No,
}

/// All that have not been carried out.
#[derive(Debug, Default)]
pub(super) struct Decisions(VecDeque<Decision>);

impl Decisions {
    pub(super) fn act(&mut self, action: Action) {
        self.0.push_back(Decision::Act(action));
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.act(Action::Emit(event));
    }

    pub(super) fn notify(&mut self, notice: Notice) {
        self.0.push_back(Decision::Notify(notice));
    }

    pub(super) fn next(&mut self) -> Option<Decision> {
        self.0.pop_front()
    }
}
