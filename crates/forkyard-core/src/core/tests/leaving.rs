//! Up, Leaving, and the empty seat.

use super::{app, app_with, up};
use crate::supervise::SuperviseSettings;
use std::time::Duration;

#[test]
fn a_retired_worker_is_asked_then_terminated_then_killed() {
    let mut script = up(app(), 1);
    script.check(&[
        ("retire 0", "ask 1"),
        ("retire 0", "already so"),
        ("+9999ms", ""),
        ("+1ms", "(escalated 1 Terminate), terminate 1"),
        ("+4999ms", ""),
        ("+1ms", "(escalated 1 Kill), kill 1"),
        ("+3600s", ""),
        ("exited 1 signal 9", "(left 1 Retired)"),
        ("channel-ended 1", ""),
        ("retire 0", "denied: there is no such slot"),
        ("+60s", ""),
    ]);
}

#[test]
fn who_does_not_speak_the_protocol_is_terminated_at_once() {
    let mut script = app();
    script.given(&["fork", "spawned 1"]);
    script.check(&[("retire 0", "terminate 1"), ("+5s", "(escalated 1 Kill), kill 1")]);
}

#[test]
fn a_worker_retired_while_it_starts_is_ended_when_it_runs() {
    app().check(&[
        ("fork", "spawn 1 in 0"),
        ("retire 0", ""),
        ("spawned 1", "(started 1), terminate 1"),
        ("+5s", "(escalated 1 Kill), kill 1"),
        ("exited 1 signal 9", "(left 1 Retired)"),
    ]);
}

#[test]
fn a_worker_retired_while_it_starts_may_fail_to_start() {
    app().check(&[
        ("fork", "spawn 1 in 0"),
        ("retire 0", ""),
        ("spawn-failed 1", "(start failed 1)"),
        ("+60s", ""),
    ]);
}

#[test]
fn a_slot_retired_during_its_delay_is_not_filled() {
    let mut script = app();
    script.given(&["fork", "spawn-failed 1"]);
    script.check(&[("retire 0", ""), ("+60s", "")]);
}

#[test]
fn a_worker_that_announces_its_leaving_is_given_time_and_replaced() {
    let mut script = up(app(), 1);
    script.check(&[
        ("leave 1", "acknowledge 1"),
        ("leave 1", "acknowledge 1"),
        ("+9999ms", ""),
        ("channel-ended 1", "(disconnected 1)"),
        ("exited 1 code 0", "(left 1 OwnWish), (restart #0 now), spawn 2 in 0"),
    ]);
}

#[test]
fn a_worker_that_announces_its_leaving_and_stays_is_ended() {
    let mut script = up(app(), 1);
    script.check(&[
        ("leave 1", "acknowledge 1"),
        ("+10s", "(escalated 1 Terminate), terminate 1"),
        ("+5s", "(escalated 1 Kill), kill 1"),
    ]);
}

#[test]
fn a_worker_that_closes_its_channel_unannounced_and_stays_is_ended() {
    let mut script = up(app(), 1);
    script.check(&[
        ("channel-ended 1", "(disconnected 1)"),
        ("channel-ended 1", ""),
        ("+9999ms", ""),
        ("+1ms", "(escalated 1 Terminate), terminate 1"),
        ("+5s", "(escalated 1 Kill), kill 1"),
        ("exited 1 signal 9", "(left 1 Unusable), (restart #1 now), spawn 2 in 0"),
    ]);
}

/// A process takes a moment from closing its channel to its end.
#[test]
fn a_crash_has_that_moment_however_short_the_time_to_disconnect() {
    let settings =
        SuperviseSettings { drain_timeout: Duration::ZERO, ..SuperviseSettings::default() };
    let mut script = up(app_with(settings), 1);
    script.check(&[
        ("channel-ended 1", "(disconnected 1)"),
        ("+499ms", ""),
        ("exited 1 signal 9", "(crashed 1), (restart #1 now), spawn 2 in 0"),
    ]);
}

/// Somebody else may hold the channel open: it concerns what the worker was offered, and
/// not its seat.
#[test]
fn a_seat_does_not_wait_for_the_end_of_the_channel() {
    let mut script = up(app(), 1);
    script.check(&[
        ("exited 1 signal 9", "(crashed 1), (restart #1 now), spawn 2 in 0"),
        ("spawned 2", "(started 2)"),
        ("retire 0", "terminate 2"),
        ("exited 2 signal 15", "(left 2 Retired)"),
        ("stop disconnect", "(stopping 0 Disconnect), finish stopped"),
        ("channel-ended 1", ""),
    ]);
}

/// Every crash is first seen as the end of the channel.
#[test]
fn a_channel_that_ends_before_the_exit_does_not_make_a_crash_a_leaving() {
    let mut script = up(app(), 1);
    script.check(&[
        ("channel-ended 1", "(disconnected 1)"),
        ("exited 1 signal 9", "(crashed 1), (restart #1 now), spawn 2 in 0"),
        ("+20s", ""),
    ]);
}

#[test]
fn a_retired_worker_whose_channel_ended_is_hastened() {
    let mut script = up(app(), 1);
    script.check(&[
        ("retire 0", "ask 1"),
        ("+1s", ""),
        ("channel-ended 1", "(disconnected 1)"),
        ("+500ms", "(escalated 1 Terminate), terminate 1"),
    ]);
}

/// It disconnects when its servers are closed, and may have other work to finish.
#[test]
fn a_worker_that_leaves_of_its_own_accord_is_not_hastened() {
    let mut script = up(app(), 1);
    script.check(&[
        ("leave 1", "acknowledge 1"),
        ("+1s", ""),
        ("channel-ended 1", "(disconnected 1)"),
        ("+8999ms", ""),
        ("+1ms", "(escalated 1 Terminate), terminate 1"),
    ]);
}

#[test]
fn a_worker_that_announces_its_leaving_while_it_is_asked_to_is_hastened() {
    let mut script = up(app(), 1);
    script.check(&[
        ("retire 0", "ask 1"),
        ("leave 1", "acknowledge 1"),
        ("channel-ended 1", "(disconnected 1)"),
        ("+500ms", "(escalated 1 Terminate), terminate 1"),
    ]);
}

#[test]
fn the_end_of_the_channel_does_not_slow_down_a_termination() {
    let settings = SuperviseSettings {
        exit_grace: Duration::from_secs(100),
        drain_timeout: Duration::from_secs(200),
        ..SuperviseSettings::default()
    };
    let mut script = up(app_with(settings), 1);
    script.check(&[
        ("broken 1", "terminate 1"),
        ("channel-ended 1", "(disconnected 1)"),
        ("+5s", "(escalated 1 Kill), kill 1"),
    ]);
}

#[test]
fn a_worker_that_breaks_the_channel_is_terminated_and_counts_as_crashed() {
    let mut script = up(app(), 1);
    script.check(&[
        ("broken 1", "terminate 1"),
        ("broken 1", ""),
        ("+5s", "(escalated 1 Kill), kill 1"),
        ("exited 1 signal 9", "(left 1 Unusable), (restart #1 now), spawn 2 in 0"),
    ]);
}

#[test]
fn a_leaving_worker_can_be_retired() {
    let mut script = up(app(), 1);
    script.check(&[
        ("leave 1", "acknowledge 1"),
        ("retire 0", "ask 1"),
        ("exited 1 code 0", "(left 1 Retired)"),
        ("+60s", ""),
    ]);
}

#[test]
fn a_terminated_worker_is_not_asked_politely_again() {
    let mut script = up(app(), 1);
    script.check(&[
        ("leave 1", "acknowledge 1"),
        ("+10s", "(escalated 1 Terminate), terminate 1"),
        ("retire 0", ""),
        ("+5s", "(escalated 1 Kill), kill 1"),
        ("stop disconnect", "(stopping 1 Disconnect)"),
        ("+60s", ""),
    ]);
}

/// A slot whose worker is still finishing what it has is not free.
#[test]
fn the_lowest_number_that_is_free_is_given_out_again() {
    let mut script = up(app(), 3);
    script.check(&[
        ("retire 0", "ask 1"),
        ("retire 1", "ask 2"),
        ("fork", "spawn 4 in 3"),
        ("exited 2 code 0", "(left 2 Retired)"),
        ("exited 1 code 0", "(left 1 Retired)"),
        ("fork", "spawn 5 in 0"),
        ("spare", "spawn 6 in 1"),
        ("fork", "spawn 7 in 4"),
    ]);
}

#[test]
fn a_number_is_not_free_while_a_predecessor_in_it_finishes_what_it_has() {
    let settings = SuperviseSettings { settle: Duration::ZERO, ..SuperviseSettings::default() };
    let mut script = up(app_with(settings), 1);
    script.given(&["replace 0", "spawned 2", "online 2", "listening 2", "retire 0"]);
    script.check(&[
        ("exited 2 code 0", "(left 2 Retired)"),
        ("fork", "spawn 3 in 1"),
        ("exited 1 code 0", "(left 1 Replaced)"),
        ("fork", "spawn 4 in 0"),
    ]);
}
