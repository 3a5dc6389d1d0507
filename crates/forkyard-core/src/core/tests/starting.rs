//! Waiting, Starting, Up.

use std::time::Duration;

use super::{app, app_with, restarting_by};
use crate::supervise::{MAX_SLOTS, SuperviseSettings};
use crate::{RestartMode, RestartSettings};

#[test]
fn a_fork_takes_a_seat() {
    app().check(&[
        ("fork", "spawn 1 in 0"),
        ("spawned 1", "(started 1)"),
        ("online 1", "(online 1)"),
        ("online 1", ""),
        ("listening 1", "(ready 1), (app ready)"),
        ("fork", "spawn 2 in 1"),
        ("+60s", ""),
    ]);
}

#[test]
fn there_is_a_limit_to_slots() {
    let mut script = app();
    for _ in 0..MAX_SLOTS {
        script.given(&["fork"]);
    }
    script.check(&[("fork", "denied: there are as many slots as there can be")]);
}

#[test]
fn what_nobody_knows_is_ignored() {
    app().check(&[
        ("spawned 9", ""),
        ("spawn-failed 9", ""),
        ("online 9", ""),
        ("listening 9", ""),
        ("leave 9", ""),
        ("broken 9", ""),
        ("channel-ended 9", ""),
        ("exited 9 code 0", ""),
        ("retire 9", "denied: there is no such slot"),
    ]);
}

#[test]
fn failed_starts_are_tried_again_after_longer_and_longer_delays() {
    let mut script = app();
    script.check(&[
        ("fork", "spawn 1 in 0"),
        ("spawn-failed 1", "(start failed 1), (restart #1 later)"),
        ("+74ms", ""),
        ("+26ms", "spawn 2 in 0"),
        ("spawn-failed 2", "(start failed 2), (restart #2 later)"),
        ("+149ms", ""),
        ("+51ms", "spawn 3 in 0"),
        ("spawn-failed 3", "(start failed 3), (restart #3 later)"),
        ("+299ms", ""),
    ]);
}

#[test]
fn failed_starts_count_against_the_limit() {
    let restart = RestartSettings { limit: 2, ..RestartSettings::default() };
    app_with(restarting_by(restart)).check(&[
        ("fork", "spawn 1 in 0"),
        ("spawn-failed 1", "(start failed 1), (restart #1 later)"),
        ("+100ms", "spawn 2 in 0"),
        ("spawn-failed 2", "(start failed 2), (restart #2 later)"),
        ("+200ms", "spawn 3 in 0"),
        ("spawn-failed 3", "(start failed 3), (failed), (stopping 0 Disconnect), finish failed"),
    ]);
}

#[test]
fn a_start_that_failed_slowly_has_failed_all_the_same() {
    app().check(&[
        ("fork", "spawn 1 in 0"),
        ("+30s", ""),
        ("spawn-failed 1", "(start failed 1), (restart #1 later)"),
    ]);
}

#[test]
fn a_failed_start_without_restarts_is_done() {
    let restart = RestartSettings { mode: RestartMode::Never, ..RestartSettings::default() };
    app_with(restarting_by(restart)).check(&[
        ("fork", "spawn 1 in 0"),
        ("spawn-failed 1", "(start failed 1), (done 0)"),
        ("+60s", ""),
    ]);
}

/// 127 is what a shell says of a program that it cannot start.
#[test]
fn a_failed_start_is_never_done_by_its_code() {
    let restart = RestartSettings { done_codes: vec![127], ..RestartSettings::default() };
    app_with(restarting_by(restart)).check(&[
        ("fork", "spawn 1 in 0"),
        ("spawn-failed 1", "(start failed 1), (restart #1 later)"),
        ("+100ms", "spawn 2 in 0"),
        ("spawned 2", "(started 2)"),
        ("exited 2 code 127", "(crashed 2), (done 0)"),
    ]);
}

fn impatient() -> SuperviseSettings {
    SuperviseSettings {
        start_timeout: Some(Duration::from_secs(30)),
        ..SuperviseSettings::default()
    }
}

#[test]
fn a_worker_that_does_not_listen_in_time_is_ended_and_counts_as_crashed() {
    app_with(impatient()).check(&[
        ("fork", "spawn 1 in 0"),
        // The time begins with the process.
        ("+60s", ""),
        ("spawned 1", "(started 1)"),
        ("online 1", "(online 1)"),
        ("+29999ms", ""),
        ("+1ms", "terminate 1, (start timed out 1)"),
        ("+5s", "(escalated 1 Kill), kill 1"),
        ("exited 1 signal 9", "(left 1 StartTimeout), (restart #1 later)"),
        ("+100ms", "spawn 2 in 0"),
    ]);
}

#[test]
fn a_worker_that_listens_in_time_is_left_alone() {
    app_with(impatient()).check(&[
        ("fork", "spawn 1 in 0"),
        ("spawned 1", "(started 1)"),
        ("online 1", "(online 1)"),
        ("+29s", ""),
        ("listening 1", "(ready 1), (app ready)"),
        ("+60s", ""),
    ]);
}

#[test]
fn the_start_time_out_is_not_for_those_who_leave() {
    app_with(impatient()).check(&[
        ("fork", "spawn 1 in 0"),
        ("spawned 1", "(started 1)"),
        ("online 1", "(online 1)"),
        ("+29s", ""),
        ("leave 1", "acknowledge 1"),
        ("+9s", ""),
    ]);
}

#[test]
fn without_a_start_time_out_a_worker_need_not_listen() {
    app().check(&[
        ("fork", "spawn 1 in 0"),
        ("spawned 1", "(started 1)"),
        ("+3600s", ""),
        // A program without a channel may close what it does not know.
        ("channel-ended 1", ""),
        ("+3600s", ""),
    ]);
}
