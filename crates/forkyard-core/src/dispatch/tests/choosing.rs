//! Which worker gets a connection, and when none is accepted.

use super::{app, app_with_window, serving};

#[test]
fn nothing_is_accepted_without_a_free_worker() {
    let mut script = app();
    script.given(&["fork", "spawned 1", "online 1"]);
    script.check(&[
        ("accept L0", "no capacity"),
        ("query 1 tcp:80", "open L0 round-robin"),
        ("accept L0", "no capacity"),
        ("opened L0", "grant 1 L0"),
        ("accept L0", "hand c0 to 1"),
        ("accept L0", "no capacity"),
        ("accepted 1 c0", "release c0"),
        ("accept L0", "hand c1 to 1"),
    ]);
}

#[test]
fn a_worker_is_offered_its_window_and_no_more() {
    let mut script = serving(app_with_window(3), 1);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("accept L0", "hand c1 to 1"),
        ("accept L0", "hand c2 to 1"),
        ("accept L0", "no capacity"),
        ("accepted 1 c1", "release c1"),
        ("accept L0", "hand c3 to 1"),
        ("accept L0", "no capacity"),
    ]);
}

/// Its event loop is blocked, and what it is offered now would wait with it.
#[test]
fn a_worker_that_leaves_one_unanswered_is_offered_no_further_one() {
    let mut script = serving(app_with_window(3), 2);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("accept L0", "hand c1 to 2"),
        ("+4ms", ""),
        ("accept L0", "hand c2 to 1"),
        ("accepted 2 c1", "release c1"),
        ("+1ms", ""),
        ("accept L0", "hand c3 to 2"),
        ("accept L0", "hand c4 to 2"),
        ("accept L0", "hand c5 to 2"),
        ("accept L0", "no capacity"),
        ("accepted 1 c0", "release c0"),
        ("accept L0", "hand c6 to 1"),
    ]);
}

/// The one that was left unanswered the longest counts, whatever was answered since.
#[test]
fn answers_out_of_turn_do_not_make_up_for_the_oldest() {
    let mut script = serving(app_with_window(3), 1);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("accept L0", "hand c1 to 1"),
        ("accept L0", "hand c2 to 1"),
        ("+5ms", ""),
        ("accepted 1 c1", "release c1"),
        ("accept L0", "no capacity"),
        ("accepted 1 c0", "release c0"),
        ("accept L0", "no capacity"),
        ("accepted 1 c2", "release c2"),
        ("accept L0", "hand c3 to 1"),
    ]);
}

#[test]
fn one_window_spans_all_listeners_of_a_worker() {
    let mut script = serving(app(), 1);
    script.check(&[
        ("query 1 tcp:81", "open L1 round-robin"),
        ("opened L1", "grant 1 L1"),
        ("accept L0", "hand c0 to 1"),
        ("accept L1", "no capacity"),
        ("accepted 1 c0", "release c0"),
        ("accept L1", "hand c1 to 1"),
    ]);
}

#[test]
fn equals_take_turns() {
    let mut script = serving(app(), 3);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("accepted 1 c0", "release c0"),
        ("accept L0", "hand c1 to 2"),
        ("accepted 2 c1", "release c1"),
        ("accept L0", "hand c2 to 3"),
        ("accepted 3 c2", "release c2"),
        ("accept L0", "hand c3 to 1"),
    ]);
}

#[test]
fn the_worker_with_the_least_in_hand_comes_first() {
    let mut script = serving(app_with_window(3), 2);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("accept L0", "hand c1 to 2"),
        ("accept L0", "hand c2 to 1"),
        ("accept L0", "hand c3 to 2"),
        ("accepted 2 c1", "release c1"),
        ("accepted 2 c3", "release c3"),
        // Worker 1's turn is longer ago, but it has two in hand.
        ("accept L0", "hand c4 to 2"),
        ("accept L0", "hand c5 to 2"),
        ("accept L0", "hand c6 to 1"),
        ("accept L0", "hand c7 to 2"),
        ("accept L0", "no capacity"),
    ]);
}

#[test]
fn only_those_who_serve_a_listener_get_its_connections() {
    let mut script = serving(app(), 1);
    script.given(&["fork", "spawned 2", "online 2", "query 2 tcp:81", "opened L1"]);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("accept L0", "no capacity"),
        ("accept L1", "hand c1 to 2"),
    ]);
}

#[test]
fn a_failed_accept_pauses_the_listener() {
    let mut script = serving(app(), 1);
    script.check(&[
        ("accept-failed L0", ""),
        ("accept L0", "no capacity"),
        ("+99ms", ""),
        ("accept L0", "no capacity"),
        ("+1ms", ""),
        ("accept L0", "hand c0 to 1"),
    ]);
}
