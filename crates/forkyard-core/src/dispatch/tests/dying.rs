//! Invariants 1 and 2: what becomes of connections whose worker leaves or dies.

use super::{app, app_with_window, serving};

#[test]
fn what_a_dead_worker_did_not_answer_goes_on_only_when_its_channel_is_read() {
    let mut script = serving(app_with_window(2), 2);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("accept L0", "hand c1 to 2"),
        ("accept L0", "hand c2 to 1"),
        ("exited 1 signal 9", "spawn 3 in 0"),
        // This answer stood in the channel when the process died.
        ("accepted 1 c0", "release c0"),
        ("channel-ended 1", "hand c2 to 2"),
        ("accepted 2 c2", "release c2"),
    ]);
}

#[test]
fn what_a_worker_did_not_answer_goes_on_when_its_channel_ends_before_it_exits() {
    let mut script = serving(app(), 2);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("channel-ended 1", "hand c0 to 2"),
        ("accepted 1 c0", ""),
        ("exited 1 signal 9", "spawn 3 in 0"),
        ("accepted 2 c0", "release c0"),
    ]);
}

#[test]
fn what_nobody_can_take_waits_in_order_for_the_successor() {
    let mut script = serving(app_with_window(2), 1);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("accept L0", "hand c1 to 1"),
        ("exited 1 code 1", "spawn 2 in 0"),
        ("channel-ended 1", ""),
        ("accept L0", "no capacity"),
        ("spawned 2", ""),
        ("online 2", ""),
        ("query 2 tcp:80", "grant 2 L0, hand c0 to 2, hand c1 to 2"),
    ]);
}

#[test]
fn a_leaving_worker_gets_nothing_new_and_answers_what_it_has() {
    let mut script = serving(app(), 2);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("leave 1", "acknowledge 1"),
        ("accept L0", "hand c1 to 2"),
        ("accept L0", "no capacity"),
        ("accepted 1 c0", "release c0"),
        ("accept L0", "no capacity"),
        ("query 1 tcp:99", ""),
    ]);
}

#[test]
fn what_a_leaving_worker_declines_goes_to_another() {
    let mut script = serving(app(), 2);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("leave 1", "acknowledge 1"),
        ("declined 1 c0", "hand c0 to 2"),
    ]);
}

#[test]
fn a_worker_that_closed_the_listener_still_answers_what_it_has() {
    let mut script = serving(app(), 2);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("closed 1 L0", ""),
        ("declined 1 c0", "hand c0 to 2"),
        ("accept L0", "no capacity"),
        ("accepted 2 c0", "release c0"),
        ("accept L0", "hand c1 to 2"),
    ]);
}
