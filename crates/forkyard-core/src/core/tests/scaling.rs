//! Another number of slots.

use super::{app, up};
use crate::MAX_SLOTS;

#[test]
fn slots_are_added_at_a_stroke() {
    let mut script = up(app(), 1);
    script.check(&[
        ("scale 3", "spawn 2 in 1, spawn 3 in 2"),
        ("scale 3", ""),
        ("spawned 2", "(started 2)"),
        // A slot that waits for its next worker counts as well.
        ("exited 2 code 1", "(crashed 2), (restart #1 later)"),
        ("scale 3", ""),
    ]);
}

#[test]
fn the_highest_slots_go_first() {
    let mut script = up(app(), 3);
    script.check(&[("scale 1", "ask 3, ask 2"), ("scale 1", "")]);
    script.given(&["exited 3 code 0", "exited 2 code 0"]);
    assert_eq!(script.standing(1), "Ready");
    // One that is on its way out does not serve any more, and has its number until it is gone.
    script.check(&[
        ("scale 2", "spawn 4 in 1"),
        ("spawned 4", "(started 4)"),
        ("scale 1", "terminate 4"),
        ("scale 2", "spawn 5 in 2"),
    ]);
}

#[test]
fn spares_are_not_counted_and_stay() {
    let mut script = up(app(), 1);
    script.given(&["spare"]);
    script.check(&[
        ("scale 2", "spawn 3 in 2"),
        ("spawned 3", "(started 3)"),
        ("scale 1", "terminate 3"),
    ]);
}

#[test]
fn it_is_denied_as_a_whole() {
    let mut script = up(app(), 1);
    script.check(&[
        (&format!("scale {}", MAX_SLOTS + 1), "denied: there are as many slots as there can be"),
        ("scale 1", ""),
    ]);
    script.given(&["roll 1"]);
    script.check(&[("scale 2", "denied: a roll is under way")]);
    script.given(&["stop kill"]);
    script.check(&[("scale 2", "denied: the app is stopping")]);
}
