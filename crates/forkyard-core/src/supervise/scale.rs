//! Another number of slots that serve.

use std::num::NonZeroUsize;
use std::time::Instant;

use super::Supervisor;
use super::settings::Role;
use crate::id::SlotId;
use crate::input::Denied;

/// What has become of the slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scaled {
    /// Those that were not there before.
    pub added: Vec<SlotId>,
    /// Those that go away, as by [`Retire`](crate::Request::Retire).
    pub removed: Vec<SlotId>,
}

impl Supervisor {
    /// As by `fork` and `retire`, but all of it or nothing. The highest slots go first.
    pub(crate) fn scale(&mut self, now: Instant, workers: NonZeroUsize) -> Result<Scaled, Denied> {
        if let Some(denied) = self.busy() {
            return Err(denied);
        }
        let (serving, _) = self.slots_by_role();
        let missing = workers.get().saturating_sub(serving.len());
        if self.free_slots() < missing {
            return Err(Denied::TooManySlots);
        }
        let removed: Vec<_> = serving.into_iter().skip(workers.get()).rev().collect();
        removed.iter().for_each(|slot| self.retire_slot(now, *slot));
        let added: Vec<_> = (0..missing).map(|_| self.add_slot(Role::Serving)).collect();
        added.iter().for_each(|slot| self.fill(now, *slot));
        Ok(Scaled { added, removed })
    }
}
