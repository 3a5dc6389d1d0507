//! Lanes: who accepts where, to whom the kernel deals, and what becomes of what waits there.

use super::{app, dealt, start};

#[test]
fn every_worker_gets_a_lane_and_is_dealt_to() {
    let mut script = app();
    script.given(&["fork", "fork"]);
    start(&mut script, 1);
    start(&mut script, 2);
    script.check(&[
        ("query 1 tcp:80", "open L0 round-robin"),
        ("query 2 tcp:80", ""),
        ("opened L0 kernel", "grant 1 L0 lane 0, deal L0 to 0, grant 2 L0 lane 1, deal L0 to 0 1"),
    ]);
}

#[test]
fn a_successor_has_a_lane_of_its_own_and_is_dealt_to_when_it_is_seated() {
    let mut script = dealt(app(), 2, "kernel");
    script.given(&["replace 0"]);
    start(&mut script, 3);
    script.check(&[
        ("query 3 tcp:80", "grant 3 L0 lane 2"),
        ("listening 3", ""),
        // Its slot is the first; for a moment both are dealt to.
        ("+100ms", "deal L0 to 0 2 1, deal L0 to 2 1, reclaim L0 0, ask 1"),
        ("closed 1 L0", ""),
        ("exited 1 code 0", ""),
        ("channel-ended 1", ""),
    ]);
    // Whatever still comes there is accepted by the primary, until somebody gets the lane.
    script.given(&["replace 1"]);
    start(&mut script, 4);
    script.check(&[("accept L0", "hand c0 to 2"), ("query 4 tcp:80", "grant 4 L0 lane 0")]);
}

#[test]
fn the_lane_of_the_dead_is_the_primarys_at_once() {
    let mut script = dealt(app(), 2, "kernel");
    script.check(&[
        ("channel-ended 1", "deal L0 to 1, reclaim L0 0"),
        ("accept L0", "hand c0 to 2"),
        ("exited 1 signal 9", "spawn 3 in 0"),
    ]);
}

/// A worker that has hung up may go on accepting: nobody else gets its lane meanwhile.
#[test]
fn nobody_gets_the_lane_of_one_that_lives() {
    let mut script = dealt(app(), 2, "kernel");
    script.check(&[("closed 1 L0", "deal L0 to 1, reclaim L0 0")]);
    script.given(&["fork"]);
    start(&mut script, 3);
    script.check(&[
        ("query 3 tcp:80", "grant 3 L0 lane 2, deal L0 to 1 2"),
        // Its own it may have again.
        ("query 1 tcp:80", "grant 1 L0 lane 0, deal L0 to 0 1 2"),
    ]);
}

#[test]
fn the_last_to_leave_leaves_nobody_to_deal_to() {
    let mut script = dealt(app(), 1, "kernel");
    script.check(&[
        ("channel-ended 1", "deal L0 to, reclaim L0 0"),
        ("accept L0", "no capacity"),
        ("exited 1 signal 9", "spawn 2 in 0"),
    ]);
    start(&mut script, 2);
    script.check(&[
        ("query 2 tcp:80", "grant 2 L0 lane 0, deal L0 to 0"),
        ("accept L0", "hand c0 to 2"),
    ]);
}

#[test]
fn a_blocked_worker_is_left_out_until_it_answers() {
    let mut script = dealt(app(), 2, "kernel");
    script.check(&[
        ("seen L0 0 1/10", ""),
        ("+9ms", ""),
        ("seen L0 0 2/11", ""),
        ("+1ms", ""),
        ("seen L0 0 2/11", "probe 1, deal L0 to 1, reclaim L0 0"),
        // It is said once.
        ("seen L0 0 2/11", ""),
        ("accept L0", "hand c0 to 2"),
        ("accept L0", "no capacity"),
        ("accepted 2 c0", "release c0"),
        ("accept L0", "hand c1 to 2"),
        ("answered 1", "give back L0 0, deal L0 to 0 1"),
        ("accept L0", "hand c2 to 1"),
    ]);
}

#[test]
fn a_worker_that_takes_what_waits_is_not_blocked_however_much_waits() {
    let mut script = dealt(app(), 2, "kernel");
    script.check(&[
        ("seen L0 0 5/10", ""),
        ("+9ms", ""),
        ("seen L0 0 6/12", ""),
        ("+9ms", ""),
        ("seen L0 0 0/12", ""),
        ("+9ms", ""),
        ("seen L0 0 1/13", ""),
        ("+9ms", ""),
        // A handshake is not over yet, which looks as if one had been taken; once.
        ("seen L0 0 1/14", ""),
        ("+10ms", ""),
        ("seen L0 0 2/14", "probe 1, deal L0 to 1, reclaim L0 0"),
    ]);
}

/// Nobody could take it either: there is nothing to be won.
#[test]
fn the_last_worker_awake_is_dealt_to_whatever_it_does() {
    let mut script = dealt(app(), 2, "kernel");
    script.given(&["seen L0 0 1/1", "seen L0 1 1/1", "+10ms"]);
    script.check(&[
        ("seen L0 0 1/1", "probe 1, deal L0 to 1, reclaim L0 0"),
        ("seen L0 1 1/1", ""),
        ("answered 1", "give back L0 0, deal L0 to 0 1"),
        ("seen L0 1 1/1", "probe 2, deal L0 to 0, reclaim L0 1"),
        ("channel-ended 1", "deal L0 to, reclaim L0 0"),
        ("answered 2", "give back L0 1, deal L0 to 1"),
    ]);
}

#[test]
fn a_blocked_worker_that_cannot_answer_is_tried_again() {
    let mut script = dealt(app(), 2, "kernel");
    script.given(&["seen L0 0 1/1", "+10ms"]);
    script.check(&[
        ("seen L0 0 1/1", "probe 1, deal L0 to 1, reclaim L0 0"),
        ("+1s", "give back L0 0, deal L0 to 0 1"),
        ("seen L0 0 1/2", ""),
        ("+10ms", ""),
        ("seen L0 0 1/2", "probe 1, deal L0 to 1, reclaim L0 0"),
    ]);
}

/// Whether it is blocked too cannot be told, and what it is handed cannot be taken back.
#[test]
fn nobody_is_handed_a_connection_who_leaves_others_waiting() {
    let mut script = dealt(app(), 2, "kernel");
    script.given(&["seen L0 0 1/1", "seen L0 1 1/1", "+10ms"]);
    script.check(&[
        ("seen L0 0 1/1", "probe 1, deal L0 to 1, reclaim L0 0"),
        ("accept L0", "no capacity"),
        ("answered 1", "give back L0 0, deal L0 to 0 1"),
        ("accept L0", "hand c0 to 1"),
        // It has taken what waited.
        ("seen L0 1 1/2", ""),
        ("accept L0", "hand c1 to 2"),
    ]);
}

#[test]
fn nobody_is_handed_a_connection_on_trial() {
    let mut script = dealt(app(), 2, "kernel");
    script.given(&["seen L0 0 1/1", "+10ms", "seen L0 0 1/1"]);
    script.check(&[
        ("+1s", "give back L0 0, deal L0 to 0 1"),
        ("accept L0", "hand c0 to 2"),
        ("accept L0", "no capacity"),
        // The primary has taken them.
        ("seen L0 0 0/5", ""),
        ("accept L0", "no capacity"),
        ("seen L0 0 0/6", ""),
        ("accept L0", "hand c1 to 1"),
    ]);
}

#[test]
fn a_blocked_worker_is_blocked_on_all_its_lanes() {
    let mut script = dealt(app(), 2, "kernel");
    script.given(&["query 1 tcp:81", "opened L1 kernel", "query 2 tcp:81", "seen L1 0 1/1"]);
    script.check(&[
        ("+10ms", ""),
        ("seen L1 0 1/1", "probe 1, deal L0 to 1, reclaim L0 0, deal L1 to 1, reclaim L1 0"),
        ("answered 1", "give back L0 0, deal L0 to 0 1, give back L1 0, deal L1 to 0 1"),
    ]);
}

/// No other worker knows the client.
#[test]
fn under_ip_hash_connections_wait_for_the_blocked() {
    let mut script = dealt(app(), 2, "kernel hash");
    script.given(&["seen L0 0 1/1", "+10s"]);
    script.check(&[("seen L0 0 1/1", "")]);
}

#[test]
fn a_spare_that_is_needed_gets_its_lane_then() {
    let mut script = dealt(app(), 1, "kernel");
    script.given(&["spare"]);
    start(&mut script, 2);
    script.check(&[
        ("query 2 tcp:80", ""),
        ("channel-ended 1", "deal L0 to, reclaim L0 0"),
        ("exited 1 signal 9", "grant 2 L0 lane 0, deal L0 to 0, spawn 3 in 0"),
    ]);
}
