//! A stop outranks everything else.

use super::{app, app_with, restarting_by, up};
use crate::RestartSettings;

#[test]
fn a_stop_asks_then_terminates_then_kills() {
    let mut script = up(app(), 2);
    script.check(&[
        ("stop disconnect", "(stopping 2 Disconnect), ask 1, ask 2"),
        ("stop disconnect", "already so"),
        ("channel-ended 1", "(disconnected 1)"),
        ("exited 1 code 0", "(left 1 Stop)"),
        ("+9999ms", ""),
        ("+1ms", "(escalated 2 Terminate), terminate 2"),
        ("+5s", "(escalated 2 Kill), kill 2"),
        ("exited 2 signal 9", "(left 2 Stop), finish stopped"),
        ("channel-ended 2", ""),
        ("+60s", ""),
    ]);
}

#[test]
fn a_second_stop_hurries_and_a_third_hurries_more() {
    let mut script = up(app(), 1);
    script.check(&[
        ("stop disconnect", "(stopping 1 Disconnect), ask 1"),
        ("stop terminate", "(stopping 1 Terminate), terminate 1"),
        ("stop disconnect", "already so"),
        ("stop kill", "(stopping 1 Kill), kill 1"),
        ("stop kill", "already so"),
        ("+60s", ""),
        ("exited 1 signal 9", "(left 1 Stop), finish stopped"),
    ]);
}

#[test]
fn a_hurried_stop_does_not_repeat_what_a_time_out_has_done() {
    let mut script = up(app(), 1);
    script.check(&[
        ("stop disconnect", "(stopping 1 Disconnect), ask 1"),
        ("+10s", "(escalated 1 Terminate), terminate 1"),
        ("+4s", ""),
        ("stop terminate", "(stopping 1 Terminate)"),
        ("+1s", "(escalated 1 Kill), kill 1"),
    ]);
}

#[test]
fn a_stop_can_begin_severely() {
    let mut script = up(app(), 1);
    script.check(&[("stop kill", "(stopping 1 Kill), kill 1"), ("+60s", "")]);
}

#[test]
fn an_empty_app_stops_at_once() {
    app().check(&[
        ("stop disconnect", "(stopping 0 Disconnect), finish stopped"),
        ("stop kill", "already so"),
        ("fork", "denied: the app is stopping"),
    ]);
}

#[test]
fn a_stop_during_a_delay_finishes_and_nothing_starts_any_more() {
    let mut script = app();
    script.given(&["fork", "spawn-failed 1"]);
    script.check(&[("stop disconnect", "(stopping 0 Disconnect), finish stopped"), ("+60s", "")]);
}

#[test]
fn the_finish_comes_after_all_else() {
    let mut script = up(app(), 1);
    script.given(&["query 1 tcp:80", "opened L0", "exited 1 code 1", "spawn-failed 2"]);
    script.check(&[("stop disconnect", "(stopping 0 Disconnect), close L0, finish stopped")]);
}

#[test]
fn a_worker_that_starts_into_a_stop_is_terminated() {
    app().check(&[
        ("fork", "spawn 1 in 0"),
        ("stop disconnect", "(stopping 1 Disconnect)"),
        ("spawned 1", "(started 1), terminate 1"),
        ("exited 1 signal 15", "(left 1 Stop), finish stopped"),
    ]);
}

#[test]
fn a_worker_that_starts_into_a_stop_late_is_killed() {
    let mut script = app();
    script.given(&["fork", "stop disconnect", "+5s"]);
    script.check(&[("spawned 1", "(started 1), kill 1"), ("+60s", "")]);
}

#[test]
fn a_start_that_fails_into_a_stop_finishes_it() {
    app().check(&[
        ("fork", "spawn 1 in 0"),
        ("stop disconnect", "(stopping 1 Disconnect)"),
        ("spawn-failed 1", "(start failed 1), finish stopped"),
        ("+60s", ""),
    ]);
}

#[test]
fn a_worker_that_was_leaving_is_not_replaced_after_a_stop() {
    let mut script = up(app(), 1);
    script.check(&[
        ("leave 1", "acknowledge 1"),
        ("stop disconnect", "(stopping 1 Disconnect), ask 1"),
        ("exited 1 code 0", "(left 1 Stop), finish stopped"),
        ("+60s", ""),
    ]);
}

#[test]
fn a_crash_during_a_stop_is_neither_restarted_nor_counted() {
    let restart = RestartSettings { limit: 0, ..RestartSettings::default() };
    let mut script = up(app_with(restarting_by(restart)), 2);
    script.check(&[
        ("stop disconnect", "(stopping 2 Disconnect), ask 1, ask 2"),
        ("exited 1 signal 11", "(left 1 Stop)"),
        ("exited 2 code 1", "(left 2 Stop), finish stopped"),
        ("+60s", ""),
    ]);
}

#[test]
fn a_worker_without_channel_is_terminated_by_the_mildest_stop() {
    let mut script = up(app(), 1);
    script.given(&["channel-ended 1"]);
    script.check(&[("stop disconnect", "(stopping 1 Disconnect), terminate 1")]);
}

#[test]
fn a_stopping_app_retires_nothing() {
    let mut script = up(app(), 1);
    script.check(&[
        ("stop disconnect", "(stopping 1 Disconnect), ask 1"),
        ("retire 0", "denied: the app is stopping"),
        ("exited 1 code 0", "(left 1 Stop), finish stopped"),
    ]);
}
