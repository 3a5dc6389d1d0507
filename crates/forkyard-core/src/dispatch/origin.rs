//! Which slot serves which clients, under `ip-hash`.
//!
//! By rendezvous: every slot draws a number for every origin, and the highest has it. So
//! when a slot comes or goes only its own clients move, whatever the order of the slots.

use super::policy::Origin;
use crate::id::SlotId;

/// How many classes of origins a table for the kernel has. Origins in one class stay
/// together, so this is also the finest share by which 1 of many slots can be off.
pub const ORIGIN_CLASSES: usize = 4096;

impl Origin {
    /// Its class, below [`ORIGIN_CLASSES`].
    #[must_use]
    pub fn class(self) -> usize {
        self.0 as usize % ORIGIN_CLASSES
    }
}

/// The slot that this class of origins belongs to; `None` if there are no slots.
#[must_use]
pub fn slot_of_class(class: usize, slots: impl IntoIterator<Item = SlotId>) -> Option<SlotId> {
    slots.into_iter().max_by_key(|slot| (draw(class, *slot), *slot))
}

/// The finalizer of `MurmurHash3` over both numbers: each bit of the input has a share in
/// each bit of the output.
fn draw(class: usize, slot: SlotId) -> u64 {
    let mut bits = ((class as u64) << 32 | u64::from(slot.0)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slots(count: u32) -> Vec<SlotId> {
        (0..count).map(SlotId).collect()
    }

    fn table(slots: &[SlotId]) -> Vec<SlotId> {
        (0..ORIGIN_CLASSES).map(|class| slot_of_class(class, slots.to_vec()).unwrap()).collect()
    }

    #[test]
    fn no_slot_serves_nobody() {
        assert_eq!(slot_of_class(0, []), None);
        assert_eq!(Origin(u32::MAX).class(), ORIGIN_CLASSES - 1);
    }

    #[test]
    fn every_slot_gets_its_share() {
        for count in [1, 2, 3, 8, 16, 64] {
            let table = table(&slots(count));
            let fair = ORIGIN_CLASSES / count as usize;
            for slot in slots(count) {
                let share = table.iter().filter(|owner| **owner == slot).count();
                assert!(share.abs_diff(fair) * 2 < fair, "{slot} of {count} has {share}");
            }
        }
    }

    proptest! {
        #[test]
        fn only_the_clients_of_the_slot_that_goes_move(count in 2..40u32, gone in 0..40u32) {
            let gone = SlotId(gone % count);
            let before = table(&slots(count));
            let others: Vec<_> = slots(count).into_iter().filter(|slot| *slot != gone).collect();
            for (old, new) in before.into_iter().zip(table(&others)) {
                prop_assert!(old == new || old == gone);
            }
        }

        #[test]
        fn the_order_of_the_slots_does_not_matter(class in 0..ORIGIN_CLASSES, count in 1..20u32) {
            let mut reversed = slots(count);
            reversed.reverse();
            prop_assert_eq!(slot_of_class(class, reversed), slot_of_class(class, slots(count)));
        }
    }
}
