//! One generation by the next: successors, hand-overs, and the way back.

use std::time::Duration;

use super::{app, app_with, patient, serve, up};
use crate::script::Script;
use crate::supervise::{CheckRule, ReadyRule, SuperviseSettings};
use crate::{IdleRule, RestartSettings};

/// Successors take their seats as soon as they are ready.
fn unsettled() -> SuperviseSettings {
    SuperviseSettings { settle: Duration::ZERO, ..patient() }
}

/// Worker `worker` runs, without saying that it is ready.
fn boot(script: &mut Script, worker: u32) {
    script.given(&[&format!("spawned {worker}"), &format!("online {worker}")]);
}

#[test]
fn every_seat_is_taken_by_a_successor_that_is_ready_and_has_settled() {
    let mut script = up(app(), 2);
    script.check(&[
        ("roll 1", "(roll to 1: 2), spawn 3 in 0 of generation 1, (3 Starting)"),
        ("spawned 3", "(started 3), (3 Waiting(Listening))"),
        ("online 3", "(online 3)"),
        ("listening 3", "(ready 3), (3 Settling)"),
        ("+99ms", ""),
        ("+1ms", "(3 Seated), ask 1, spawn 4 in 1 of generation 1, (4 Starting)"),
        ("spawned 4", "(started 4), (4 Waiting(Listening))"),
        ("online 4", "(online 4)"),
        ("listening 4", "(ready 4), (4 Settling)"),
        ("exited 1 code 0", "(left 1 Replaced)"),
        ("+100ms", "(4 Seated), ask 2, (rolled to 1)"),
        ("exited 2 code 0", "(left 2 Replaced)"),
        ("+60s", ""),
    ]);
}

#[test]
fn a_crash_after_a_roll_is_mended_from_the_new_generation() {
    let mut script = up(app_with(unsettled()), 1);
    script.given(&["roll 1"]);
    serve(&mut script, 2);
    script.check(&[
        ("exited 2 signal 9", "(crashed 2), (restart #1 now), spawn 3 in 0 of generation 1"),
        ("exited 1 code 0", "(left 1 Replaced)"),
        ("fork", "spawn 4 in 1 of generation 1"),
    ]);
}

#[test]
fn as_many_successors_as_surge_says_are_under_way() {
    let mut script = up(app_with(unsettled()), 5);
    script.check(&[(
        "roll 1 surge 2",
        "(roll to 1: 5), spawn 6 in 0 of generation 1, (6 Starting), \
         spawn 7 in 1 of generation 1, (7 Starting)",
    )]);
    boot(&mut script, 6);
    script.check(&[(
        "listening 6",
        "(ready 6), (6 Seated), ask 1, spawn 8 in 2 of generation 1, (8 Starting)",
    )]);
}

#[test]
fn a_predecessor_that_takes_its_time_holds_up_nobody() {
    let mut script = up(app_with(unsettled()), 2);
    script.given(&["roll 1"]);
    serve(&mut script, 3);
    boot(&mut script, 4);
    script.check(&[
        ("listening 4", "(ready 4), (4 Seated), ask 2, (rolled to 1)"),
        ("+10s", "(escalated 1 Terminate), terminate 1, (escalated 2 Terminate), terminate 2"),
        ("+5s", "(escalated 1 Kill), kill 1, (escalated 2 Kill), kill 2"),
    ]);
}

#[test]
fn a_successor_that_crashes_ends_the_roll_before_anything_has_changed() {
    let mut script = up(app(), 2);
    script.given(&["roll 1", "spawned 3", "online 3"]);
    script.check(&[
        (
            "exited 3 code 1",
            "(crashed 3), (roll failed: 3 Ended { status: Code(1) }), (rolled back to 0)",
        ),
        ("+60s", ""),
        ("exited 1 signal 9", "(crashed 1), (restart #1 now), spawn 4 in 0"),
    ]);
}

#[test]
fn a_successor_that_cannot_be_started_ends_the_roll() {
    let mut script = up(app(), 1);
    script.given(&["roll 1"]);
    script.check(&[(
        "spawn-failed 2",
        "(start failed 2), (roll failed: 2 NotStarted { message: \"no such file\" }), \
         (rolled back to 0)",
    )]);
}

#[test]
fn a_time_out_is_a_failure_and_never_a_go_ahead() {
    let mut script = up(app(), 1);
    script.given(&["roll 1", "spawned 2", "online 2"]);
    script.check(&[
        ("+29999ms", ""),
        ("+1ms", "terminate 2, (roll failed: 2 NotReady { after: 30s, rule: Listening })"),
        ("listening 2", ""),
        ("+5s", "(escalated 2 Kill), kill 2"),
        ("exited 2 signal 9", "(left 2 RolledBack), (rolled back to 0)"),
        ("+60s", ""),
    ]);
}

/// The end of the channel is the first that is seen of a crash.
#[test]
fn a_successor_that_crashes_while_it_settles_gets_no_seat() {
    let mut script = up(app(), 1);
    script.given(&["roll 1"]);
    boot(&mut script, 2);
    script.check(&[
        ("listening 2", "(ready 2), (2 Settling)"),
        ("channel-ended 2", "(disconnected 2)"),
        ("+400ms", ""),
        (
            "exited 2 code 1",
            "(crashed 2), (roll failed: 2 Ended { status: Code(1) }), (rolled back to 0)",
        ),
    ]);
}

#[test]
fn a_successor_that_leaves_or_breaks_its_channel_is_no_good() {
    let mut script = up(app(), 1);
    script.given(&["roll 1", "spawned 2", "online 2"]);
    script.check(&[
        ("leave 2", "acknowledge 2, terminate 2, (roll failed: 2 Left)"),
        ("exited 2 code 0", "(left 2 RolledBack), (rolled back to 0)"),
    ]);
    script.given(&["roll 2", "spawned 3", "online 3"]);
    script.check(&[("broken 3", "terminate 3, (roll failed: 3 Left)")]);
}

#[test]
fn what_had_been_replaced_is_replaced_back() {
    let mut script = up(app_with(unsettled()), 3);
    script.given(&["roll 1"]);
    serve(&mut script, 4);
    serve(&mut script, 5);
    script.given(&["exited 1 code 0", "exited 2 code 0", "spawned 6"]);
    script.check(&[
        (
            "exited 6 code 1",
            "(crashed 6), (roll failed: 6 Ended { status: Code(1) }), spawn 7 in 1, (7 Starting)",
        ),
        ("spawned 7", "(started 7), (7 Waiting(Listening))"),
        ("online 7", "(online 7)"),
        ("listening 7", "(ready 7), (7 Seated), ask 5, spawn 8 in 0, (8 Starting)"),
        ("spawned 8", "(started 8), (8 Waiting(Listening))"),
        ("online 8", "(online 8)"),
        ("listening 8", "(ready 8), (8 Seated), ask 4, (rolled back to 0)"),
        ("exited 3 signal 9", "(crashed 3), (restart #1 now), spawn 9 in 2"),
    ]);
}

#[test]
fn a_crash_of_one_that_was_placed_ends_the_roll() {
    let mut script = up(app_with(unsettled()), 2);
    script.given(&["roll 1"]);
    serve(&mut script, 3);
    script.given(&["spawned 4"]);
    script.check(&[
        (
            "exited 3 code 1",
            "(crashed 3), (roll failed: 3 Ended { status: Code(1) }), terminate 4, \
             (restart #1 now), spawn 5 in 0",
        ),
        ("exited 4 signal 15", "(left 4 RolledBack), (rolled back to 0, but for 0)"),
    ]);
}

/// It is told at once, and therefore with what is missing.
#[test]
fn a_seat_that_is_empty_is_told_with_the_end_of_the_way_back() {
    let crash_last = |script: &mut Script| {
        script.given(&["roll 1 surge 2"]);
        serve(script, 3);
        boot(script, 4);
        script.given(&["exited 3 code 1"]);
    };
    let mut script = up(app_with(unsettled()), 2);
    crash_last(&mut script);
    boot(&mut script, 5);
    script.check(&[("exited 4 signal 15", "(left 4 RolledBack), (rolled back to 0, but for 0)")]);
    let mut script = up(app_with(unsettled()), 2);
    crash_last(&mut script);
    serve(&mut script, 5);
    script.check(&[("exited 4 signal 15", "(left 4 RolledBack), (rolled back to 0)")]);
    let mut script = up(app_with(unsettled()), 2);
    crash_last(&mut script);
    script.given(&["exited 5 code 1"]);
    script.check(&[("exited 4 signal 15", "(left 4 RolledBack), (rolled back to 0, but for 0)")]);
}

/// A program that never says that it is ready is as it was before the roll.
#[test]
fn who_was_there_before_is_not_missing() {
    let ready = ReadyRule::Notify;
    let mut script = up(app_with(SuperviseSettings { ready, ..unsettled() }), 2);
    script.given(&["+1s", "roll 1", "spawned 3"]);
    script.check(&[(
        "exited 3 code 1",
        "(crashed 3), (roll failed: 3 Ended { status: Code(1) }), (rolled back to 0)",
    )]);
    script.given(&["leave 2", "roll 2", "spawned 4"]);
    script.check(&[(
        "exited 4 code 1",
        "(crashed 4), (roll failed: 4 Ended { status: Code(1) }), (rolled back to 0, but for 1)",
    )]);
}

#[test]
fn a_seat_that_cannot_be_given_back_keeps_the_worker_it_has() {
    let mut script = up(app_with(unsettled()), 2);
    script.given(&["roll 1"]);
    serve(&mut script, 3);
    script.given(&["exited 4 code 1"]);
    script.check(&[
        ("exited 5 code 1", "(crashed 5), (roll back failed: 5), (rolled back to 0)"),
        ("exited 3 signal 9", "(crashed 3), (restart #1 now), spawn 6 in 0"),
    ]);
}

#[test]
fn a_later_roll_tries_again() {
    let mut script = up(app_with(unsettled()), 1);
    script.given(&["roll 1", "exited 2 code 1", "roll 2", "spawned 3", "online 3"]);
    script.check(&[("listening 3", "(ready 3), (3 Seated), ask 1, (rolled to 2)")]);
}

#[test]
fn there_is_one_roll_at_a_time_and_slots_stay_as_they_are() {
    let mut script = up(app(), 1);
    script.given(&["roll 1"]);
    for request in ["roll 2", "replace 0", "fork", "retire 0"] {
        script.check(&[(request, "denied: a roll is under way")]);
    }
}

#[test]
fn a_stop_ends_the_roll_and_everybody() {
    let mut script = up(app(), 1);
    script.given(&["roll 1", "spawned 2", "online 2"]);
    script.check(&[
        ("stop disconnect", "(roll aborted), (stopping 2 Disconnect), ask 1, ask 2"),
        ("roll 2", "denied: the app is stopping"),
        ("exited 1 code 0", "(left 1 Stop)"),
        ("exited 2 code 0", "(left 2 Stop), finish stopped"),
    ]);
}

#[test]
fn a_stop_waits_for_predecessors_too() {
    let mut script = up(app_with(unsettled()), 1);
    script.given(&["roll 1"]);
    serve(&mut script, 2);
    script.check(&[
        ("stop disconnect", "(stopping 2 Disconnect), ask 2"),
        ("exited 2 code 0", "(left 2 Stop)"),
        ("exited 1 code 0", "(left 1 Stop), finish stopped"),
    ]);
}

#[test]
fn a_predecessor_s_end_concerns_no_seat() {
    let mut script = up(app_with(unsettled()), 1);
    script.given(&["roll 1"]);
    serve(&mut script, 2);
    script.check(&[("exited 1 signal 9", "(left 1 Replaced)"), ("+60s", "")]);
}

#[test]
fn the_number_of_workers_can_grow() {
    let mut script = up(app_with(unsettled()), 1);
    script.check(&[(
        "roll 1 workers 2",
        "(roll to 1: 1 +1 -0), spawn 2 in 0 of generation 1, (2 Starting)",
    )]);
    serve(&mut script, 2);
    script.given(&["spawned 3", "online 3"]);
    script.check(&[
        ("listening 3", "(ready 3), (3 Seated), (rolled to 1)"),
        ("exited 3 signal 9", "(crashed 3), (restart #1 now), spawn 4 in 1 of generation 1"),
    ]);
}

#[test]
fn slots_that_a_failed_roll_has_added_go_away_again() {
    let mut script = up(app_with(unsettled()), 1);
    script.given(&["roll 1 workers 3 surge 3", "spawned 2"]);
    serve(&mut script, 3);
    script.check(&[
        ("exited 2 code 1", "(crashed 2), (roll failed: 2 Ended { status: Code(1) }), ask 3"),
        ("spawned 4", "(started 4), terminate 4"),
        ("exited 4 signal 15", "(left 4 RolledBack), (rolled back to 0)"),
        ("exited 3 code 0", "(left 3 Retired)"),
        ("retire 1", "denied: there is no such slot"),
    ]);
}

#[test]
fn the_number_of_workers_shrinks_when_all_others_are_replaced() {
    let mut script = up(app_with(unsettled()), 2);
    script.check(&[(
        "roll 1 workers 1",
        "(roll to 1: 1 +0 -1), spawn 3 in 0 of generation 1, (3 Starting)",
    )]);
    script.given(&["spawned 3", "online 3"]);
    script.check(&[
        ("listening 3", "(ready 3), (3 Seated), ask 1, ask 2, (rolled to 1)"),
        ("exited 2 code 0", "(left 2 Retired)"),
        ("retire 1", "denied: there is no such slot"),
    ]);
}

#[test]
fn a_roll_that_grows_again_takes_the_numbers_that_are_free() {
    let mut script = up(app_with(unsettled()), 2);
    script.given(&["roll 1 workers 1"]);
    serve(&mut script, 3);
    script.given(&["exited 1 code 0", "exited 2 code 0", "roll 2 workers 2", "spawned 4"]);
    script.given(&["online 4"]);
    script.check(&[(
        "listening 4",
        "(ready 4), (4 Seated), ask 3, spawn 5 in 1 of generation 2, (5 Starting)",
    )]);
}

#[test]
fn one_slot_can_be_restarted_successor_first() {
    let mut script = up(app_with(unsettled()), 2);
    script.check(&[
        ("replace 1", "(roll to 0: 1), spawn 3 in 1, (3 Starting)"),
        ("spawned 3", "(started 3), (3 Waiting(Listening))"),
        ("online 3", "(online 3)"),
        ("listening 3", "(ready 3), (3 Seated), ask 2, (rolled to 0)"),
        ("replace 7", "denied: there is no such slot"),
    ]);
}

#[test]
fn a_restart_that_fails_changes_nothing() {
    let mut script = up(app_with(unsettled()), 1);
    script.given(&["replace 0", "spawned 2"]);
    script.check(&[(
        "exited 2 code 1",
        "(crashed 2), (roll failed: 2 Ended { status: Code(1) }), (rolled back to 0)",
    )]);
}

#[test]
fn a_crash_loop_can_be_mended_by_a_roll_and_does_not_end_the_app_before() {
    let restart = RestartSettings { limit: 1, ..RestartSettings::default() };
    let mut script = app_with(SuperviseSettings { restart, ..unsettled() });
    script.given(&["fork", "exited 1 code 1", "roll 1"]);
    script.check(&[
        ("+100ms", "spawn 3 in 0"),
        ("exited 3 code 1", "(crashed 3), (restart #1 later)"),
        ("spawned 2", "(started 2), (2 Waiting(Listening))"),
        ("online 2", "(online 2)"),
        ("listening 2", "(ready 2), (2 Seated), (rolled to 1), (app ready)"),
        ("+60s", ""),
    ]);
}

#[test]
fn a_seat_that_is_done_can_be_taken_anew() {
    let restart = RestartSettings { done_codes: vec![0], ..RestartSettings::default() };
    let settings = SuperviseSettings { restart, when_idle: IdleRule::Finish, ..unsettled() };
    let mut script = up(app_with(settings), 2);
    script.given(&["exited 1 code 0", "roll 1"]);
    script.check(&[("exited 2 code 0", "(crashed 2), (done 1)")]);
    serve(&mut script, 3);
    serve(&mut script, 4);
    script.check(&[
        ("exited 3 code 0", "(crashed 3), (done 0)"),
        ("exited 4 code 0", "(crashed 4), (done 1), finish finished 0"),
    ]);
}

#[test]
fn readiness_is_what_the_rule_says() {
    for (ready, signal, not) in [
        (ReadyRule::Listening, "listening 2", "ready 2 message"),
        (ReadyRule::Listening, "ready 2 notify", "ready 2 message"),
        (ReadyRule::Message, "ready 2 message", "listening 2"),
        (ReadyRule::Notify, "ready 2 notify", "listening 2"),
        (ReadyRule::Started, "spawned 2", "listening 1"),
    ] {
        let mut script = up(app_with(SuperviseSettings { ready, ..unsettled() }), 1);
        script.given(&["roll 1"]);
        if ready != ReadyRule::Started {
            boot(&mut script, 2);
        }
        script.check(&[(not, "")]);
        let (before, after) = match ready {
            ReadyRule::Started => ("(started 2), (2 Waiting(Started)), ", ""),
            ReadyRule::Listening => ("", ""),
            // Its predecessor has never said so.
            ReadyRule::Message | ReadyRule::Notify => ("", ", (app ready)"),
        };
        let seated = "(ready 2), (2 Seated), ask 1, (rolled to 1)";
        script.check(&[(signal, &format!("{before}{seated}{after}"))]);
    }
}

fn checking() -> SuperviseSettings {
    SuperviseSettings { check: CheckRule::Ask, ..patient() }
}

#[test]
fn a_healthy_successor_settles() {
    let mut script = up(app_with(checking()), 1);
    script.given(&["roll 1", "spawned 2", "online 2"]);
    script.check(&[
        ("healthy 2", ""),
        ("listening 2", "(ready 2), (2 Checking), check 2"),
        ("listening 2", ""),
        ("healthy 2", "(2 Settling)"),
        ("unhealthy 2", ""),
        ("+100ms", "(2 Seated), ask 1, (rolled to 1)"),
    ]);
}

#[test]
fn an_unhealthy_successor_is_no_good() {
    let mut script = up(app_with(checking()), 1);
    script.given(&["roll 1", "spawned 2", "online 2", "listening 2"]);
    script.check(&[
        ("unhealthy 2", "terminate 2, (roll failed: 2 Unhealthy { message: \"503\" })"),
        ("exited 2 signal 15", "(left 2 RolledBack), (rolled back to 0)"),
    ]);
}

#[test]
fn a_check_without_an_answer_takes_no_longer_than_getting_ready_may() {
    let mut script = up(app_with(checking()), 1);
    script.given(&["roll 1", "spawned 2", "online 2", "listening 2"]);
    script.check(&[(
        "+30s",
        "terminate 2, (roll failed: 2 Unhealthy { message: \"the check took too long\" })",
    )]);
}

/// Whoever leaves by himself may have come to the end of a job.
#[test]
fn one_that_was_placed_and_leaves_by_itself_is_replaced_and_the_roll_goes_on() {
    let mut script = up(app_with(unsettled()), 2);
    script.given(&["roll 1"]);
    serve(&mut script, 3);
    script.given(&["leave 3"]);
    script.check(&[(
        "exited 3 code 0",
        "(left 3 OwnWish), (restart #0 now), spawn 5 in 0 of generation 1",
    )]);
}

/// Whoever forks anew has no use for a slot that is done, but its successor has.
#[test]
fn a_slot_that_is_done_stays_for_its_successor_and_goes_without_one() {
    let restart = RestartSettings { done_codes: vec![0], ..RestartSettings::default() };
    let settings = || SuperviseSettings { restart: restart.clone(), ..unsettled() };
    let mut script = up(app_with(settings()), 1);
    script.given(&["roll 1", "spawned 2", "online 2"]);
    script.check(&[
        ("exited 1 code 0", "(crashed 1), (done 0)"),
        ("listening 2", "(ready 2), (2 Seated), (rolled to 1)"),
        ("retire 0", "ask 2"),
    ]);
    let mut script = up(app_with(settings()), 1);
    script.given(&["roll 1", "spawned 2", "online 2", "exited 1 code 0", "exited 2 code 1"]);
    script.check(&[("retire 0", "denied: there is no such slot")]);
}
