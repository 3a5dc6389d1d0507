//! Who is ready, and when the whole app is.

use std::time::Duration;

use super::{app, app_with, patient, serve, up};
use crate::script::Script;
use crate::supervise::{IdleRule, ReadyRule, SuperviseSettings};
use crate::{RestartMode, RestartSettings};

fn ready_by(ready: ReadyRule) -> Script {
    app_with(SuperviseSettings { ready, settle: Duration::ZERO, ..patient() })
}

#[test]
fn a_worker_is_ready_when_it_fulfils_the_rule_and_that_is_told_once() {
    for (rule, signal, not) in [
        (ReadyRule::Listening, "listening 1", "ready 1 message"),
        (ReadyRule::Listening, "ready 1 notify", "ready 1 message"),
        (ReadyRule::Message, "ready 1 message", "listening 1"),
        (ReadyRule::Notify, "ready 1 notify", "ready 1 message"),
    ] {
        let mut script = ready_by(rule);
        script.given(&["fork"]);
        script.check(&[
            ("spawned 1", "(started 1)"),
            ("online 1", "(online 1)"),
            (not, ""),
            (signal, "(ready 1), (app ready)"),
            (signal, ""),
        ]);
    }
    let mut script = ready_by(ReadyRule::Started);
    script.given(&["fork"]);
    script
        .check(&[("spawned 1", "(started 1), (ready 1), (app ready)"), ("online 1", "(online 1)")]);
}

#[test]
fn the_next_worker_after_a_crash_is_ready_too() {
    let mut script = up(app(), 1);
    script.given(&["exited 1 signal 9", "spawned 2", "online 2"]);
    script.check(&[("listening 2", "(ready 2)")]);
}

#[test]
fn whoever_leaves_or_is_cut_off_does_not_get_ready_any_more() {
    let mut script = app();
    script.given(&["fork", "spawned 1", "online 1", "leave 1"]);
    script.check(&[("listening 1", "")]);
    let mut script = app();
    script.given(&["fork", "spawned 1", "online 1", "channel-ended 1"]);
    script.check(&[("ready 1 notify", "")]);
}

#[test]
fn the_app_is_ready_when_every_slot_has_had_a_ready_worker() {
    let mut script = app();
    script.given(&["fork", "fork", "fork"]);
    serve(&mut script, 1);
    serve(&mut script, 2);
    // Slot 0 has had one.
    script.given(&["exited 1 signal 9", "spawned 3", "online 3"]);
    script.check(&[("listening 3", "(ready 3), (app ready)")]);
    script.given(&["fork", "spawned 5", "online 5"]);
    script.check(&[("listening 5", "(ready 5)")]);
}

#[test]
fn nobody_waits_for_a_slot_that_goes_away() {
    let mut script = app();
    script.given(&["fork", "fork"]);
    serve(&mut script, 1);
    script.check(&[("retire 1", "(app ready)")]);
}

#[test]
fn nobody_waits_for_a_slot_that_is_done_but_for_another_one() {
    let restart = RestartSettings { mode: RestartMode::Never, ..RestartSettings::default() };
    for when_idle in [IdleRule::Wait, IdleRule::Finish] {
        let settings = SuperviseSettings { restart: restart.clone(), when_idle, ..patient() };
        let mut script = app_with(settings);
        script.given(&["fork", "fork", "spawned 1", "spawned 2", "online 2"]);
        script.check(&[
            ("exited 1 code 0", "(crashed 1), (done 0)"),
            ("listening 2", "(ready 2), (app ready)"),
        ]);
    }
}

#[test]
fn an_app_whose_last_slot_goes_away_is_not_ready() {
    let mut script = app();
    script.given(&["fork", "spawned 1"]);
    script.check(&[("retire 0", "terminate 1"), ("exited 1 signal 15", "(left 1 Retired)")]);
}

#[test]
fn a_successor_s_slot_is_ready_when_the_seat_is_taken() {
    let mut script = app();
    script.given(&["fork", "spawned 1", "roll 1", "spawned 2", "online 2"]);
    script.check(&[
        ("listening 2", "(ready 2), (2 Settling)"),
        ("+100ms", "(2 Seated), terminate 1, (rolled to 1), (app ready)"),
    ]);
}

#[test]
fn a_spare_is_ready_when_it_serves() {
    let mut script = app();
    script.given(&["fork", "spare", "spawned 1", "spawned 2", "online 2"]);
    script.check(&[
        ("query 2 tcp:80", "(2 stands by)"),
        ("exited 1 signal 9", "(crashed 1), (promoted 2), open L0 round-robin, (restart #1 later)"),
        ("opened L0", "grant 2 L0"),
        ("listening 2", "(ready 2), (app ready)"),
    ]);
}

/// It has its address before it is needed, so there is nothing to wait for.
#[test]
fn a_spare_that_listens_by_itself_is_ready_at_once() {
    let mut script = up(app(), 1);
    script.given(&["spare", "spawned 2", "online 2"]);
    script.check(&[
        ("listening 2", ""),
        (
            "exited 1 signal 9",
            "(crashed 1), (promoted 2), (ready 2), (restart #1 now), spawn 3 in 0",
        ),
    ]);
}

#[test]
fn an_app_that_is_stopping_does_not_get_ready() {
    let mut script = app();
    script.given(&["fork", "spawned 1", "online 1", "stop disconnect"]);
    script.check(&[("listening 1", "")]);
}
