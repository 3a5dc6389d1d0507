//! How long a listener stays open.

use std::time::Duration;

use super::{app, serving};
use crate::script::{Script, Show};
use crate::supervise::SuperviseSettings;
use crate::{IdleRule, RestartMode, RestartSettings, Settings};

#[test]
fn an_address_outlives_the_worker_until_a_successor_has_settled_on_it() {
    let mut script = serving(app(), 1);
    script.check(&[
        ("exited 1 signal 11", "spawn 2 in 0"),
        ("channel-ended 1", ""),
        ("+60s", ""),
        ("spawned 2", ""),
        ("online 2", ""),
        ("+9s", ""),
        ("query 2 tcp:80", "grant 2 L0"),
        ("+60s", ""),
        ("accept L0", "hand c0 to 2"),
    ]);
}

#[test]
fn an_address_that_the_settled_successor_did_not_ask_for_is_closed() {
    let mut script = serving(app(), 1);
    script.check(&[
        ("exited 1 signal 11", "spawn 2 in 0"),
        ("channel-ended 1", ""),
        ("spawned 2", ""),
        ("online 2", ""),
        ("listening 2", ""),
        ("+10s", ""),
        ("+999ms", ""),
        ("+1ms", "close L0"),
    ]);
}

#[test]
fn a_successor_that_listens_late_settles_the_next_time_somebody_looks() {
    let mut script = serving(app(), 1);
    script.given(&["exited 1 signal 11", "channel-ended 1", "spawned 2", "online 2"]);
    script.check(&[
        ("+12s", ""),
        ("listening 2", ""),
        ("+8s", ""),
        ("+999ms", ""),
        ("+1ms", "close L0"),
    ]);
}

#[test]
fn a_successor_that_never_listens_does_not_keep_the_address_for_ever() {
    let mut script = serving(app(), 1);
    script.given(&["exited 1 signal 11", "channel-ended 1", "spawned 2", "online 2"]);
    script.check(&[
        ("+50s", ""),
        ("+999ms", ""),
        ("+1ms", "close L0"),
        ("+3600s", ""),
        ("query 2 tcp:80", "open L1 round-robin"),
    ]);
}

#[test]
fn a_successor_that_dies_young_leaves_the_address_to_the_next_one() {
    let mut script = serving(app(), 1);
    script.given(&["exited 1 signal 11", "channel-ended 1"]);
    script.check(&[
        ("spawned 2", ""),
        ("+9s", ""),
        ("exited 2 signal 11", ""),
        ("channel-ended 2", ""),
        ("+100ms", "spawn 3 in 0"),
        ("spawned 3", ""),
        ("online 3", ""),
        ("+9s", ""),
        ("query 3 tcp:80", "grant 3 L0"),
    ]);
}

#[test]
fn a_leaving_worker_that_outlives_the_stable_time_keeps_the_address_for_its_successor() {
    let mut script = serving(app(), 1);
    script.check(&[
        ("+9s", ""),
        ("leave 1", "acknowledge 1"),
        ("+5s", ""),
        ("exited 1 code 0", "spawn 2 in 0"),
        ("spawned 2", ""),
        ("online 2", ""),
        ("query 2 tcp:80", "grant 2 L0"),
    ]);
}

#[test]
fn a_worker_without_channel_does_not_settle_in_its_successors_place() {
    let mut script = serving(app(), 1);
    script.check(&[
        ("+9s", ""),
        ("channel-ended 1", ""),
        ("+5s", ""),
        ("exited 1 signal 9", "spawn 2 in 0"),
        ("spawned 2", ""),
        ("online 2", ""),
        ("query 2 tcp:80", "grant 2 L0"),
    ]);
}

/// Worker 1 and no other serves L0 and L1, which are TCP ports 80 and 81.
fn serving_two(script: Script) -> Script {
    let mut script = serving(script, 1);
    script.given(&["query 1 tcp:81", "opened L1"]);
    script
}

#[test]
fn an_address_that_everybody_closed_lingers() {
    let mut script = serving(app(), 2);
    script.given(&["query 2 tcp:81", "opened L1"]);
    script.check(&[
        ("closed 1 L0", ""),
        ("+60s", ""),
        ("closed 2 L0", ""),
        ("+999ms", ""),
        ("+1ms", "close L0"),
        ("query 1 tcp:80", "open L2 round-robin"),
    ]);
}

#[test]
fn a_lingering_address_can_be_taken_up_again() {
    let mut script = serving_two(app());
    script.check(&[
        ("closed 1 L0", ""),
        ("+999ms", ""),
        ("query 1 tcp:80", "grant 1 L0"),
        ("+60s", ""),
        ("accept L0", "hand c0 to 1"),
    ]);
}

#[test]
fn crashes_elsewhere_do_not_prolong_the_lingering() {
    let mut script = serving(app(), 2);
    script.given(&["query 2 tcp:81", "opened L1"]);
    script.check(&[
        ("closed 1 L0", ""),
        ("closed 2 L0", ""),
        ("+900ms", ""),
        // Worker 1 was not the last to close: its successor is not waited for.
        ("exited 1 signal 9", "spawn 3 in 0"),
        ("+100ms", "close L0"),
    ]);
}

/// Node closes every server first, and says that it leaves when its connections are done.
#[test]
fn a_worker_that_closed_all_it_had_is_given_the_time_to_leave() {
    let mut script = serving_two(app());
    script.check(&[
        ("closed 1 L0", ""),
        ("closed 1 L1", ""),
        ("+9999ms", ""),
        ("leave 1", "acknowledge 1"),
        ("channel-ended 1", ""),
        ("exited 1 code 0", "spawn 2 in 0"),
        ("spawned 2", ""),
        ("online 2", ""),
        ("+9s", ""),
        ("query 2 tcp:80", "grant 2 L0"),
        ("query 2 tcp:81", "grant 2 L1"),
    ]);
}

#[test]
fn a_worker_that_closed_all_it_had_may_crash_on_its_way_out() {
    let mut script = serving(app(), 1);
    script.check(&[
        ("closed 1 L0", ""),
        ("+9s", ""),
        ("exited 1 signal 9", "spawn 2 in 0"),
        ("channel-ended 1", ""),
        ("+30s", ""),
    ]);
}

#[test]
fn a_worker_that_closed_all_it_had_and_stays_is_not_waited_for_any_longer() {
    let mut script = serving_two(app());
    script.check(&[
        ("closed 1 L0", ""),
        ("+500ms", ""),
        ("closed 1 L1", ""),
        ("+9499ms", ""),
        ("+1ms", "close L0"),
        ("+500ms", "close L1"),
        ("leave 1", "acknowledge 1"),
        ("exited 1 code 0", "spawn 2 in 0"),
        ("+60s", ""),
    ]);
}

#[test]
fn the_time_to_leave_is_that_of_a_disconnect() {
    let drain_timeout = Duration::from_secs(3);
    let supervise = SuperviseSettings { drain_timeout, ..SuperviseSettings::default() };
    let settings = Settings { supervise, ..Settings::default() };
    let mut script = serving(Script::new(settings, Show::AllButEvents), 1);
    script.check(&[("closed 1 L0", ""), ("+2999ms", ""), ("+1ms", "close L0")]);
}

#[test]
fn a_worker_that_closed_all_it_had_and_is_retired_leaves_nothing_to_wait_for() {
    let mut script = serving(app(), 1);
    script.check(&[
        ("closed 1 L0", ""),
        ("+2s", ""),
        ("retire 0", "ask 1"),
        ("+999ms", ""),
        ("+1ms", "close L0"),
    ]);
}

#[test]
fn a_retirement_does_not_prolong_the_lingering() {
    let mut script = serving(app(), 1);
    script.check(&[
        ("closed 1 L0", ""),
        ("+9500ms", ""),
        ("retire 0", "ask 1"),
        ("+500ms", "close L0"),
    ]);
}

#[test]
fn a_worker_on_its_way_out_is_waited_for_when_the_last_other_holder_goes() {
    let mut script = serving(app(), 2);
    script.check(&[
        ("closed 1 L0", ""),
        ("+1s", ""),
        ("retire 1", "ask 2"),
        ("exited 2 code 0", ""),
        ("+8s", ""),
        ("leave 1", "acknowledge 1"),
        ("exited 1 code 0", "spawn 3 in 0"),
        ("+60s", ""),
    ]);
}

#[test]
fn a_slot_that_waits_for_its_successor_does_not_stand_in_for_another() {
    let mut script = serving(app(), 2);
    script.check(&[
        ("exited 2 signal 9", "spawn 3 in 1"),
        ("closed 1 L0", ""),
        ("leave 1", "acknowledge 1"),
        ("exited 1 code 0", "spawn 4 in 0"),
        ("retire 1", ""),
        ("spawn-failed 3", ""),
        ("+60s", ""),
    ]);
}

#[test]
fn a_worker_that_asks_for_another_address_is_not_on_its_way_out() {
    let mut script = serving(app(), 1);
    script.check(&[
        ("closed 1 L0", ""),
        ("+2s", ""),
        ("query 1 tcp:81", "open L1 round-robin"),
        ("+999ms", ""),
        ("+1ms", "close L0"),
    ]);
}

#[test]
fn opening_and_closing_elsewhere_does_not_keep_an_address_for_ever() {
    let mut script = serving_two(app());
    script.check(&[
        ("closed 1 L0", ""),
        ("+900ms", ""),
        ("closed 1 L1", ""),
        ("+800ms", ""),
        ("query 1 tcp:81", "grant 1 L1"),
        ("+900ms", ""),
        ("closed 1 L1", ""),
        ("+7399ms", ""),
        ("+1ms", "close L0"),
    ]);
}

#[test]
fn what_still_waits_on_an_address_that_nobody_wants_is_let_go() {
    let mut script = serving(app(), 1);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("closed 1 L0", ""),
        ("declined 1 c0", ""),
        ("+10s", "release c0, close L0"),
    ]);
}

#[test]
fn an_address_closed_on_the_way_out_is_kept_for_the_successor() {
    let mut script = serving(app(), 1);
    script.check(&[
        ("closed 1 L0", ""),
        ("+900ms", ""),
        ("leave 1", "acknowledge 1"),
        ("channel-ended 1", ""),
        ("exited 1 code 0", "spawn 2 in 0"),
        ("+60s", ""),
        ("spawned 2", ""),
        ("online 2", ""),
        ("query 2 tcp:80", "grant 2 L0"),
    ]);
}

#[test]
fn a_retired_slot_lets_go_of_its_addresses() {
    let mut script = serving(app(), 1);
    script.check(&[
        ("retire 0", "ask 1"),
        ("accept L0", "no capacity"),
        ("+999ms", ""),
        ("+1ms", "close L0"),
    ]);
}

#[test]
fn a_slot_retired_while_empty_lets_go_of_its_addresses() {
    let mut script = serving(app(), 1);
    script.given(&["exited 1 code 1", "channel-ended 1", "spawned 2", "exited 2 code 1"]);
    script.check(&[("retire 0", ""), ("+1s", "close L0")]);
}

#[test]
fn a_slot_that_is_done_lets_go_of_its_addresses() {
    let restart = RestartSettings { mode: RestartMode::Never, ..RestartSettings::default() };
    let supervise =
        SuperviseSettings { restart, when_idle: IdleRule::Wait, ..SuperviseSettings::default() };
    let settings = Settings { supervise, ..Settings::default() };
    let mut script = serving(Script::new(settings, Show::AllButEvents), 1);
    script.check(&[("exited 1 code 0", ""), ("+1s", "close L0")]);
}

#[test]
fn a_stop_closes_everything_and_what_is_with_workers_stays_theirs() {
    let mut script = serving(app(), 2);
    script.given(&["query 1 tcp:81"]);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("accept L0", "hand c1 to 2"),
        ("stop disconnect", "close L0, refuse 1 Stopping, close L1, ask 1, ask 2"),
        ("accept L0", "no capacity"),
        ("force L0", "release c2"),
        ("accepted 1 c0", "release c0"),
        ("declined 2 c1", "release c1"),
        ("opened L1", ""),
        ("query 1 tcp:80", ""),
    ]);
}

#[test]
fn a_stop_lets_go_of_what_waits() {
    let mut script = serving(app(), 1);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("declined 1 c0", ""),
        ("stop disconnect", "release c0, close L0, ask 1"),
        ("+64ms", ""),
    ]);
}

#[test]
fn the_dead_and_unread_are_let_go_after_a_stop() {
    let mut script = serving(app(), 1);
    script.check(&[
        ("accept L0", "hand c0 to 1"),
        ("stop kill", "close L0, kill 1"),
        ("exited 1 signal 9", "finish stopped"),
        ("channel-ended 1", "release c0"),
    ]);
}
