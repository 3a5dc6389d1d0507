//! Addresses of the app's own, with which workers are started.

use super::app;
use crate::script::Script;

fn listening(dealing: &str) -> Script {
    let mut script = app();
    script.check(&[
        ("listen tcp:80", "open L0 auto"),
        (&format!("opened L0 {dealing}"), ""),
        ("listen tcp:80", "already so"),
    ]);
    script
}

#[test]
fn workers_are_started_with_a_lane_each_and_dealt_to() {
    let mut script = listening("kernel");
    script
        .check(&[("fork", "spawn 1 in 0, deal L0 to 0"), ("fork", "spawn 2 in 1, deal L0 to 0 1")]);
    assert_eq!(script.inherited(2), "L0 1");
}

#[test]
fn what_waits_for_the_dead_goes_to_the_others_by_itself() {
    let mut script = listening("kernel");
    script.given(&["fork", "fork", "spawned 1", "spawned 2"]);
    script.check(&[
        ("exited 1 signal 9", "deal L0 to 1, renew L0 0"),
        ("channel-ended 1", ""),
        ("+1s", "spawn 3 in 0, deal L0 to 0 1"),
    ]);
    assert_eq!(script.inherited(3), "L0 0");
}

#[test]
fn a_successor_has_its_own_lane_until_its_predecessor_leaves_and_after() {
    let mut script = listening("kernel");
    script.given(&["fork", "spawned 1", "online 1"]);
    script.check(&[("replace 0", "spawn 2 in 0")]);
    assert_eq!(script.inherited(2), "L0 1");
    script.given(&["spawned 2", "online 2"]);
    script.check(&[
        ("listening 2", ""),
        ("+100ms", "deal L0 to 0 1, deal L0 to 1, renew L0 0, ask 1"),
        ("exited 1 code 0", ""),
        ("channel-ended 1", ""),
    ]);
}

#[test]
fn nobody_can_be_handed_what_the_primary_accepts() {
    for dealing in ["kernel", "", "hash"] {
        let mut script = listening(dealing);
        script.given(&["fork", "spawned 1", "online 1"]);
        script.check(&[("accept L0", "no capacity")]);
    }
}

#[test]
fn a_blocked_worker_keeps_what_waits_for_it() {
    let mut script = listening("kernel");
    script.given(&["fork", "fork", "spawned 1", "spawned 2", "seen L0 0 1/1", "+1s"]);
    script.check(&[("seen L0 0 1/1", "")]);
}

/// A Node program may listen where the settings say.
#[test]
fn one_that_asks_gets_what_it_was_started_with() {
    let mut script = listening("kernel");
    script.given(&["fork", "fork", "spawned 1", "online 1"]);
    script.check(&[
        ("query 1 tcp:80", "grant 1 L0 lane 0"),
        ("accept L0", "no capacity"),
        ("closed 1 L0", "deal L0 to 1, renew L0 0"),
        ("+60s", ""),
    ]);
}

#[test]
fn it_is_open_until_the_app_stops() {
    let mut script = listening("kernel");
    script.given(&["fork", "spawned 1"]);
    script.check(&[
        ("retire 0", "deal L0 to, renew L0 0, terminate 1"),
        ("exited 1 code 0", ""),
        ("channel-ended 1", ""),
        ("+60s", ""),
        ("stop terminate", "close L0, finish stopped"),
        ("listen tcp:81", "denied: the app is stopping"),
    ]);
}
