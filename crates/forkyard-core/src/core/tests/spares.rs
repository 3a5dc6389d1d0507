//! Seats whose workers wait to take over another's part.

use std::time::Duration;

use super::{app, app_with, patient, up};
use crate::RestartSettings;
use crate::script::Script;
use crate::supervise::SuperviseSettings;

/// Worker 1 serves in slot 0, worker 2 is a spare in slot 1.
fn with_spare(mut script: Script) -> Script {
    script = up(script, 1);
    script.given(&["spare", "spawned 2", "online 2"]);
    script
}

#[test]
fn a_spare_takes_over_at_once_and_the_empty_seat_gets_the_next_spare() {
    let mut script = with_spare(app());
    script.check(&[
        ("query 2 tcp:80", "(2 stands by)"),
        ("query 2 tcp:81", ""),
        (
            "exited 1 signal 9",
            "(crashed 1), (promoted 2), open L0 round-robin, open L1 round-robin, \
             (restart #1 now), spawn 3 in 0",
        ),
        ("opened L0", "grant 2 L0"),
        ("spawned 3", "(started 3)"),
        ("online 3", "(online 3)"),
        ("query 3 tcp:80", "(3 stands by)"),
        (
            "exited 2 signal 9",
            "(crashed 2), (promoted 3), grant 3 L0, (restart #1 now), spawn 4 in 1",
        ),
        ("+1s", "close L1"),
    ]);
}

#[test]
fn a_spare_that_has_not_come_so_far_is_no_help() {
    let mut script = with_spare(app());
    script.check(&[("exited 1 signal 9", "(crashed 1), (restart #1 now), spawn 3 in 0")]);
}

#[test]
fn a_spare_on_its_way_out_is_no_help() {
    let mut script = with_spare(app());
    script.given(&["query 2 tcp:80", "channel-ended 2"]);
    script.check(&[("exited 1 signal 9", "(crashed 1), (restart #1 now), spawn 3 in 0")]);
}

/// A program that binds by itself asks nobody.
#[test]
fn a_spare_that_has_not_asked_for_long_is_told_once() {
    let mut script = with_spare(app());
    script.given(&["spare", "spawned 3"]);
    script.check(&[
        ("+9s", ""),
        ("+1s", "(2 does not ask)"),
        ("+60s", ""),
        ("exited 2 code 1", "(crashed 2), (restart #1 now), spawn 4 in 1"),
        ("spawned 4", "(started 4)"),
        ("+60s", ""),
        ("query 3 tcp:80", "(3 stands by)"),
    ]);
    let mut script = with_spare(app());
    script.check(&[("query 2 tcp:80", "(2 stands by)"), ("+60s", "")]);
}

#[test]
fn a_spare_that_crashes_is_replaced_by_a_spare_however_often() {
    let restart = RestartSettings { limit: 1, ..RestartSettings::default() };
    let mut script = with_spare(app_with(SuperviseSettings { restart, ..patient() }));
    script.check(&[
        ("exited 2 code 1", "(crashed 2), (restart #1 later)"),
        ("+100ms", "spawn 3 in 1"),
        ("exited 3 code 1", "(crashed 3), (restart #1 later)"),
        ("+5s", "spawn 4 in 1"),
        ("spawned 4", "(started 4)"),
        ("online 4", "(online 4)"),
        ("query 4 tcp:80", "(4 stands by)"),
        (
            "exited 1 signal 9",
            "(crashed 1), (promoted 4), open L0 round-robin, (restart #1 now), spawn 5 in 0",
        ),
    ]);
}

#[test]
fn spares_are_rolled_last_and_are_ready_when_they_ask() {
    let settings = SuperviseSettings { settle: Duration::ZERO, ..patient() };
    let mut script = with_spare(app_with(settings));
    script.given(&["query 2 tcp:80", "roll 1", "spawned 3", "online 3"]);
    script.check(&[
        ("listening 3", "(ready 3), (3 Seated), ask 1, spawn 4 in 1 of generation 1, (4 Starting)"),
        ("spawned 4", "(started 4), (4 Waiting(Listening))"),
        ("online 4", "(online 4)"),
        ("query 4 tcp:80", "(4 stands by), (4 Seated), ask 2, (rolled to 1)"),
        (
            "exited 3 signal 9",
            "(crashed 3), (promoted 4), open L0 round-robin, (restart #1 now), \
             spawn 5 in 0 of generation 1",
        ),
    ]);
}

#[test]
fn during_a_roll_spares_stay_what_they_are() {
    let mut script = with_spare(app());
    script.given(&["query 2 tcp:80", "roll 1"]);
    script.check(&[("exited 1 signal 9", "(crashed 1), (restart #1 now), spawn 4 in 0")]);
}
