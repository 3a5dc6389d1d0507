//! From an empty seat back to Starting, to Done, or to a failed app.

use std::time::Duration;

use super::{app, app_with, restarting_by, serve, up};
use crate::supervise::SuperviseSettings;
use crate::{IdleRule, RestartMode, RestartSettings};

#[test]
fn the_first_crash_of_a_worker_that_served_costs_no_delay() {
    let mut script = up(app(), 1);
    script.check(&[
        ("exited 1 signal 11", "(crashed 1), (restart #1 now), spawn 2 in 0"),
        ("channel-ended 1", ""),
    ]);
}

#[test]
fn crashes_in_a_row_are_delayed_until_a_worker_stays_up() {
    let mut script = up(app(), 1);
    script.check(&[("exited 1 code 1", "(crashed 1), (restart #1 now), spawn 2 in 0")]);
    serve(&mut script, 2);
    script.check(&[("exited 2 code 1", "(crashed 2), (restart #2 later)"), ("+74ms", "")]);
    script.check(&[("+26ms", "spawn 3 in 0")]);
    serve(&mut script, 3);
    script.check(&[("exited 3 code 1", "(crashed 3), (restart #3 later)"), ("+149ms", "")]);
    script.check(&[("+51ms", "spawn 4 in 0")]);
    serve(&mut script, 4);
    script
        .check(&[("+10s", ""), ("exited 4 code 1", "(crashed 4), (restart #4 now), spawn 5 in 0")]);
}

#[test]
fn a_crash_before_listening_is_delayed_from_the_first_time() {
    app().check(&[
        ("fork", "spawn 1 in 0"),
        ("spawned 1", "(started 1)"),
        ("online 1", "(online 1)"),
        ("exited 1 code 1", "(crashed 1), (restart #1 later)"),
        ("+100ms", "spawn 2 in 0"),
    ]);
}

#[test]
fn a_program_that_never_listens_has_served_when_it_was_stable() {
    app().check(&[
        ("fork", "spawn 1 in 0"),
        ("spawned 1", "(started 1)"),
        ("+10s", ""),
        ("exited 1 code 1", "(crashed 1), (restart #1 now), spawn 2 in 0"),
    ]);
}

#[test]
fn slots_have_histories_of_their_own() {
    let mut script = up(app(), 2);
    script.check(&[
        ("exited 1 code 1", "(crashed 1), (restart #1 now), spawn 3 in 0"),
        ("exited 2 code 1", "(crashed 2), (restart #1 now), spawn 4 in 1"),
    ]);
}

#[test]
fn a_done_code_leaves_the_seat_empty() {
    let restart = RestartSettings { done_codes: vec![0, 3], ..RestartSettings::default() };
    let mut script = up(app_with(restarting_by(restart)), 3);
    script.check(&[
        ("exited 1 code 3", "(crashed 1), (done 0)"),
        ("exited 2 code 1", "(crashed 2), (restart #1 now), spawn 4 in 1"),
        ("exited 3 signal 3", "(crashed 3), (restart #1 now), spawn 5 in 2"),
        ("+60s", ""),
        // Nobody sits there any more, and nobody ever will.
        ("retire 0", "denied: there is no such slot"),
        ("fork", "spawn 6 in 0"),
    ]);
}

#[test]
fn a_done_slot_of_an_app_that_finishes_can_be_retired_once() {
    let mut script = up(app_with(never(IdleRule::Finish)), 2);
    script.check(&[
        ("exited 1 code 3", "(crashed 1), (done 0)"),
        ("retire 0", ""),
        ("retire 0", "denied: there is no such slot"),
    ]);
}

fn never(when_idle: IdleRule) -> SuperviseSettings {
    let restart = RestartSettings { mode: RestartMode::Never, ..RestartSettings::default() };
    SuperviseSettings { when_idle, ..restarting_by(restart) }
}

#[test]
fn without_restarts_an_idle_app_waits_for_the_next_fork() {
    let mut script = up(app_with(never(IdleRule::Wait)), 1);
    script.check(&[
        ("exited 1 signal 9", "(crashed 1), (done 0)"),
        ("+60s", ""),
        ("fork", "spawn 2 in 0"),
    ]);
}

#[test]
fn an_app_whose_slots_are_all_done_finishes_with_the_highest_code() {
    let mut script = up(app_with(never(IdleRule::Finish)), 3);
    script.check(&[
        ("exited 1 code 2", "(crashed 1), (done 0)"),
        ("exited 2 signal 9", "(crashed 2), (done 1)"),
        ("exited 3 code 0", "(crashed 3), (done 2), finish finished 137"),
        ("fork", "denied: the app is stopping"),
        ("stop kill", "already so"),
        ("+60s", ""),
    ]);
}

#[test]
fn retiring_the_last_busy_slot_finishes_an_app_whose_others_are_done() {
    let mut script = up(app_with(never(IdleRule::Finish)), 2);
    script.check(&[
        ("exited 1 code 4", "(crashed 1), (done 0)"),
        ("retire 1", "ask 2"),
        ("exited 2 code 0", "(left 2 Retired), finish finished 4"),
    ]);
}

fn limited(limit: u32, window: Duration) -> SuperviseSettings {
    restarting_by(RestartSettings { limit, window, ..RestartSettings::default() })
}

#[test]
fn one_restart_too_many_fails_the_app_and_stops_all() {
    let mut script = up(app_with(limited(1, Duration::from_secs(60))), 2);
    script.check(&[("exited 1 code 1", "(crashed 1), (restart #1 now), spawn 3 in 0")]);
    serve(&mut script, 3);
    script.check(&[
        ("exited 3 code 1", "(crashed 3), (failed), (stopping 1 Disconnect), ask 2"),
        ("fork", "denied: the app is stopping"),
        ("stop disconnect", "already so"),
        ("stop terminate", "(stopping 1 Terminate), terminate 2"),
        ("exited 2 code 0", "(left 2 Stop), finish failed"),
        ("+60s", ""),
    ]);
}

#[test]
fn restarts_before_the_window_are_forgotten() {
    let mut script = up(app_with(limited(1, Duration::from_secs(5))), 1);
    script.check(&[("exited 1 code 1", "(crashed 1), (restart #1 now), spawn 2 in 0")]);
    serve(&mut script, 2);
    script.check(&[
        ("+6s", ""),
        ("exited 2 code 1", "(crashed 2), (restart #1 later)"),
        ("+100ms", "spawn 3 in 0"),
    ]);
}

#[test]
fn leaving_of_ones_own_accord_is_not_a_crash() {
    let mut script = up(app_with(limited(0, Duration::from_secs(60))), 1);
    for worker in 1..5 {
        script.check(&[
            ("+10s", ""),
            (&format!("leave {worker}"), &format!("acknowledge {worker}")),
            (&format!("channel-ended {worker}"), &format!("(disconnected {worker})")),
            (
                &format!("exited {worker} code 0"),
                &format!("(left {worker} OwnWish), (restart #0 now), spawn {} in 0", worker + 1),
            ),
        ]);
        serve(&mut script, worker + 1);
    }
}

#[test]
fn those_who_leave_early_are_replaced_more_and_more_slowly() {
    let mut script = up(app_with(limited(0, Duration::from_secs(60))), 1);
    script.check(&[
        ("leave 1", "acknowledge 1"),
        ("exited 1 code 0", "(left 1 OwnWish), (restart #0 now), spawn 2 in 0"),
    ]);
    serve(&mut script, 2);
    script.check(&[
        ("leave 2", "acknowledge 2"),
        ("exited 2 code 0", "(left 2 OwnWish), (restart #0 later)"),
        ("+74ms", ""),
        ("+26ms", "spawn 3 in 0"),
    ]);
    serve(&mut script, 3);
    script.check(&[
        ("leave 3", "acknowledge 3"),
        ("exited 3 code 0", "(left 3 OwnWish), (restart #0 later)"),
        ("+149ms", ""),
        ("+51ms", "spawn 4 in 0"),
    ]);
    serve(&mut script, 4);
    script.check(&[
        ("+10s", ""),
        ("leave 4", "acknowledge 4"),
        ("exited 4 code 0", "(left 4 OwnWish), (restart #0 now), spawn 5 in 0"),
    ]);
}

#[test]
fn leaving_before_having_served_is_a_crash() {
    app().check(&[
        ("fork", "spawn 1 in 0"),
        ("spawned 1", "(started 1)"),
        ("online 1", "(online 1)"),
        ("leave 1", "acknowledge 1"),
        ("exited 1 code 0", "(left 1 OwnWish), (restart #1 later)"),
    ]);
}
