//! How workers stand, as it is told to whoever asks.

use std::time::Duration;

use super::{app, app_with, patient, up};
use crate::RestartSettings;
use crate::script::Script;
use crate::supervise::SuperviseSettings;

/// What is said of a worker after each of these happenings.
#[track_caller]
fn follow(script: &mut Script, worker: u32, rows: &[(&str, &str)]) {
    for (happening, expected) in rows {
        script.given(&[happening]);
        // What is handed over is as it was.
        script.check(&[("+0s", "")]);
        assert_eq!(script.standing(worker), *expected, "after {happening}");
    }
}

#[test]
fn a_worker_starts_is_ready_leaves_and_is_gone() {
    let rows = [
        ("fork", "Starting"),
        ("spawned 1", "Starting"),
        ("online 1", "Starting"),
        ("listening 1", "Ready"),
        ("retire 0", "Leaving"),
        ("exited 1 code 0", "gone"),
    ];
    follow(&mut app(), 1, &rows);
    follow(&mut up(app(), 1), 1, &[("leave 1", "Leaving")]);
    follow(&mut up(app(), 1), 1, &[("channel-ended 1", "Leaving")]);
}

#[test]
fn a_successor_is_ready_when_it_has_the_seat() {
    let mut script = up(app(), 1);
    let rows = [
        ("roll 1", "Successor"),
        ("spawned 2", "Successor"),
        ("online 2", "Successor"),
        ("listening 2", "Successor"),
        ("+100ms", "Ready"),
    ];
    follow(&mut script, 2, &rows);
    assert_eq!(script.standing(1), "Leaving");
}

#[test]
fn a_successor_that_has_failed_leaves() {
    let mut script = up(app(), 1);
    script.given(&["roll 1", "spawned 2", "online 2"]);
    follow(&mut script, 2, &[("broken 2", "Leaving")]);
}

#[test]
fn a_spare_stands_by_until_it_serves() {
    let mut script = up(app(), 1);
    let rows = [
        ("spare", "Starting"),
        ("spawned 2", "Starting"),
        ("online 2", "Starting"),
        ("query 2 tcp:80", "Spare"),
        ("exited 1 signal 9", "Starting"),
        ("opened L0", "Starting"),
        ("listening 2", "Ready"),
    ];
    follow(&mut script, 2, &rows);
}

#[test]
fn crashes_are_counted_for_as_long_as_the_slot_is_there() {
    let settings = SuperviseSettings { settle: Duration::ZERO, ..patient() };
    let restart = RestartSettings { window: Duration::from_secs(1), ..settings.restart.clone() };
    let mut script = up(app_with(SuperviseSettings { restart, ..settings }), 2);
    script.given(&["exited 1 signal 9", "+10s", "spawned 3", "online 3", "listening 3"]);
    script.given(&["exited 3 code 1", "+10s", "spawned 4", "online 4"]);
    follow(
        &mut script,
        4,
        &[("listening 4", "Ready after 2 crashes"), ("+60s", "Ready after 2 crashes")],
    );
    assert_eq!(script.standing(2), "Ready");
    // Whoever leaves by itself has not crashed, and who is replaced neither.
    script.given(&["leave 4", "exited 4 code 0", "spawned 5", "online 5", "listening 5"]);
    script.given(&["replace 0", "spawned 6", "online 6", "listening 6"]);
    follow(&mut script, 6, &[("exited 5 code 0", "Ready after 2 crashes")]);
    script.given(&["retire 0", "exited 6 code 0"]);
    follow(&mut script, 7, &[("fork", "Starting")]);
}

#[test]
fn a_start_that_fails_is_a_crash() {
    let mut script = app();
    script.given(&["fork", "spawn-failed 1"]);
    follow(&mut script, 2, &[("+100ms", "Starting after 1 crashes")]);
}
