//! Who gets connections, and when that is told.

use std::time::Duration;

use super::{app_with, patient};
use crate::script::Script;
use crate::supervise::SuperviseSettings;

fn app() -> Script {
    app_with(SuperviseSettings { settle: Duration::ZERO, ..patient() })
}

/// Workers 1 to `workers` of slots from 0, to which the kernel deals.
fn dealt_by_kernel(mut script: Script, workers: u32) -> Script {
    for worker in 1..=workers {
        script.given(&["fork"]);
        boot(&mut script, worker);
        listen(&mut script, worker);
    }
    script
}

fn boot(script: &mut Script, worker: u32) {
    script.given(&[&format!("spawned {worker}"), &format!("online {worker}")]);
}

fn listen(script: &mut Script, worker: u32) {
    script.given(&[&format!("query {worker} tcp:80"), "opened L0 kernel"]);
    script.given(&[&format!("listening {worker}")]);
}

/// At the moment of an event, or when a worker is asked to leave, nobody is dealt to who is not
/// to get anything any more.
#[test]
fn routing_has_changed_before_it_is_told_and_before_anybody_is_asked_to_leave() {
    let mut script = dealt_by_kernel(app(), 2);
    script.given(&["roll 1"]);
    boot(&mut script, 3);
    listen(&mut script, 3);
    boot(&mut script, 4);
    script.given(&["query 4 tcp:80"]);
    script.check(&[(
        "listening 4",
        "(ready 4), deal L0 to 2 1 3, deal L0 to 2 3, reclaim L0 1, (4 Seated), ask 2, (rolled to 1)",
    )]);
}

#[test]
fn who_is_surplus_is_not_dealt_to_when_the_roll_has_finished() {
    let mut script = dealt_by_kernel(app(), 2);
    script.given(&["roll 1 workers 1"]);
    boot(&mut script, 3);
    script.given(&["query 3 tcp:80"]);
    script.check(&[(
        "listening 3",
        "(ready 3), deal L0 to 0 2 1, deal L0 to 2 1, reclaim L0 0, (3 Seated), ask 1, \
         deal L0 to 2, reclaim L0 1, ask 2, (rolled to 1)",
    )]);
}

#[test]
fn whoever_says_that_it_leaves_is_not_dealt_to_when_that_is_acknowledged() {
    let mut script = dealt_by_kernel(app(), 2);
    script.check(&[("leave 1", "deal L0 to 1, reclaim L0 0, acknowledge 1")]);
    script.check(&[("retire 1", "deal L0 to, reclaim L0 1, ask 2")]);
}

#[test]
fn what_the_dead_had_is_dealt_to_others_before_anybody_hears_of_it() {
    let mut script = dealt_by_kernel(app(), 2);
    script.check(&[
        (
            "exited 1 signal 9",
            "deal L0 to 1, reclaim L0 0, (crashed 1), (restart #1 now), spawn 3 in 0",
        ),
        ("channel-ended 2", "deal L0 to, reclaim L0 1, (disconnected 2)"),
    ]);
}
