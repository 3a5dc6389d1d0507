//! Whom the primary chooses, by policy.

use super::{app_with_window, dealt, start};
use crate::script::Script;

/// Workers 1 to 3 in slots 0 to 2, all of them serving L0.
fn three(dealing: &str) -> Script {
    dealt(app_with_window(2), 3, dealing)
}

#[test]
fn the_fewest_connections_count_not_the_turn() {
    let mut script = three("least");
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("accept L0", "hand c1 to 2"),
        ("accept L0", "hand c2 to 3"),
        ("accepted 1 c0", "release c0"),
        ("accepted 2 c1", "release c1"),
        ("accepted 3 c2", "release c2"),
        ("finished 2 1", ""),
        ("accept L0", "hand c3 to 2"),
        ("finished 2 1", ""),
        ("accept L0", "hand c4 to 2"),
        ("accept L0", "hand c5 to 1"),
    ]);
}

#[test]
fn what_was_declined_does_not_count() {
    let mut script = three("least");
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("declined 1 c0", "hand c0 to 2"),
        ("accepted 2 c0", "release c0"),
        ("accept L0", "hand c1 to 3"),
        ("+1ms", ""),
        ("accept L0", "hand c2 to 1"),
    ]);
}

#[test]
fn more_closed_than_handed_out_is_none() {
    let mut script = three("least");
    script.check(&[
        ("finished 1 4000000000", ""),
        ("accept L0", "hand c0 to 1"),
        ("accept L0", "hand c1 to 2"),
        ("finished 9 1", ""),
    ]);
}

#[test]
fn a_client_comes_to_its_slot_whatever_else_is_free() {
    let mut script = three("hash");
    script.check(&[
        ("accept L0 from 3", "hand c0 to 2"),
        ("accept L0 from 2", "hand c1 to 1"),
        ("accept L0 from 3", "hand c2 to 2"),
        // Its worker's window is full: it waits, and nobody waits for it.
        ("accept L0 from 3", ""),
        ("accept L0 from 2", "hand c4 to 1"),
        ("accepted 2 c0", "release c0, hand c3 to 2"),
    ]);
}

#[test]
fn a_client_comes_to_the_successor_in_its_slot() {
    let mut script = three("hash");
    script.given(&["replace 1"]);
    start(&mut script, 4);
    script.given(&["query 4 tcp:80", "listening 4"]);
    script.check(&[
        ("accept L0 from 3", "hand c0 to 2"),
        ("+100ms", "ask 2"),
        ("accept L0 from 3", "hand c1 to 4"),
    ]);
}

#[test]
fn the_clients_of_the_dead_go_elsewhere_and_come_back() {
    let mut script = three("hash");
    script.check(&[
        ("accept L0 from 3", "hand c0 to 2"),
        ("accept L0 from 3", "hand c1 to 2"),
        ("accept L0 from 3", ""),
        ("channel-ended 2", "hand c1 to 3, hand c2 to 3"),
        ("accepted 3 c1", "release c1, hand c0 to 3"),
        ("accepted 3 c2", "release c2"),
        ("exited 2 signal 9", "spawn 4 in 1"),
    ]);
    start(&mut script, 4);
    script.check(&[("query 4 tcp:80", "grant 4 L0"), ("accept L0 from 3", "hand c3 to 4")]);
}

/// The one it belongs to now may have been idle all the time.
#[test]
fn what_waits_for_a_worker_that_leaves_goes_elsewhere() {
    let mut script = three("hash");
    script.given(&["accept L0 from 3"; 3]);
    script.check(&[("retire 1", "ask 2, hand c2 to 3")]);
}

#[test]
fn what_waits_is_not_for_a_worker_that_is_just_replaced() {
    let mut script = three("hash");
    script.given(&["accept L0 from 3"; 3]);
    script.given(&["replace 1"]);
    start(&mut script, 4);
    script.given(&["query 4 tcp:80", "listening 4", "accepted 2 c0"]);
    script.given(&["accept L0 from 3"]);
    script.check(&[("+100ms", "ask 2, hand c3 to 4")]);
}

#[test]
fn who_cannot_be_told_apart_goes_to_anybody() {
    let mut script = three("hash");
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("accept L0", "hand c1 to 2"),
        ("accept L0", "hand c2 to 3"),
    ]);
}

/// What waits for its one worker is bounded, and then waits in the kernel.
#[test]
fn not_more_than_so_many_wait_for_their_worker() {
    let mut script = three("hash");
    script.given(&["accept L0 from 3"; 2 + 1024]);
    script.check(&[("accept L0 from 2", "no capacity")]);
}

#[test]
fn a_slow_worker_gets_fewer() {
    let mut script = three("");
    // Worker 1 takes 24 ms to answer, which counts as 3 ms; the others take none.
    script.given(&["accept L0", "accept L0", "accept L0", "accepted 2 c1", "accepted 3 c2"]);
    script.given(&["+24ms", "accepted 1 c0"]);
    script.check(&[
        ("accept L0", "hand c3 to 1"),
        ("accept L0", "hand c4 to 2"),
        ("accept L0", "hand c5 to 3"),
        ("accepted 2 c4", "release c4"),
        ("accepted 3 c5", "release c5"),
        ("+24ms", ""),
        ("accepted 1 c3", "release c3"),
    ]);
    let seen: Vec<_> = (6..18).map(|connection| script.accept_and_answer(connection)).collect();
    assert_eq!(seen, [2, 3, 2, 3, 1, 2, 3, 2, 3, 2, 3, 2]);
}
