//! What happens to connections that a worker does not want.

use super::{app, app_with_window, serving};

#[test]
fn a_declined_connection_goes_to_another() {
    let mut script = serving(app(), 2);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("declined 1 c0", "hand c0 to 2"),
        ("accepted 2 c0", "release c0"),
        ("accept L0", "hand c1 to 2"),
        ("accept L0", "no capacity"),
    ]);
}

#[test]
fn what_all_decline_waits_and_is_offered_again_after_longer_and_longer_pauses() {
    let mut script = serving(app(), 2);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("declined 1 c0", "hand c0 to 2"),
        ("declined 2 c0", ""),
        ("accept L0", "no capacity"),
        ("+1ms", "hand c0 to 1"),
        ("declined 1 c0", "hand c0 to 2"),
        ("declined 2 c0", ""),
        ("+1ms", ""),
        ("+1ms", "hand c0 to 1"),
        ("accepted 1 c0", "release c0"),
    ]);
}

#[test]
fn pauses_end_at_64_milliseconds() {
    let mut script = serving(app(), 1);
    script.given(&["accept L0"]);
    for pause_ms in [1, 2, 4, 8, 16, 32, 64, 64, 64] {
        script.check(&[
            ("declined 1 c0", ""),
            (&format!("+{}ms", pause_ms - 1), ""),
            ("+1ms", "hand c0 to 1"),
        ]);
    }
}

#[test]
fn an_acceptance_forgives_earlier_declines() {
    let mut script = serving(app_with_window(2), 1);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("accept L0", "hand c1 to 1"),
        ("declined 1 c0", ""),
        ("accepted 1 c1", "release c1, hand c0 to 1"),
        ("declined 1 c0", ""),
        ("+1ms", "hand c0 to 1"),
    ]);
}

#[test]
fn a_worker_that_declines_on_one_listener_serves_another() {
    let mut script = serving(app(), 1);
    script.given(&["query 1 tcp:81", "opened L1"]);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("declined 1 c0", ""),
        ("accept L1", "hand c1 to 1"),
        // L0's connection has to wait until the worker is free again.
        ("+1ms", ""),
        ("accepted 1 c1", "release c1, hand c0 to 1"),
    ]);
}

#[test]
fn forged_replies_change_nothing() {
    let mut script = serving(app(), 2);
    script.given(&["accept L0"]);
    script.check(&[
        ("accepted 2 c0", ""),
        ("declined 2 c0", ""),
        ("accepted 1 c99", ""),
        ("declined 1 c99", ""),
        ("accepted 77 c0", ""),
        ("accepted 1 c0", "release c0"),
        ("declined 1 c0", ""),
        ("accepted 1 c0", ""),
        ("closed 77 L0", ""),
        ("closed 1 L9", ""),
        ("query 77 tcp:80", ""),
    ]);
}
