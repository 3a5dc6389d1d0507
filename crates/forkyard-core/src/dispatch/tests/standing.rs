//! Who takes part in serving: successors before and after they are seated.

use std::time::Duration;

use super::{app, serving, start};
use crate::script::{Script, Show};
use crate::{ReadyRule, Settings, SuperviseSettings};

#[test]
fn a_successor_gets_its_address_at_once_and_connections_when_it_is_seated() {
    let mut script = serving(app(), 1);
    script.given(&["accept L0", "roll 1"]);
    start(&mut script, 2);
    script.check(&[
        ("query 2 tcp:80", "grant 2 L0"),
        ("listening 2", ""),
        ("accept L0", "no capacity"),
        ("+100ms", "ask 1"),
        ("accept L0", "hand c1 to 2"),
        ("closed 1 L0", ""),
        ("accepted 1 c0", "release c0"),
        ("exited 1 code 0", ""),
        ("channel-ended 1", ""),
        ("+60s", ""),
    ]);
}

#[test]
fn what_the_dead_left_goes_to_the_successor_when_it_is_seated() {
    let mut script = serving(app(), 1);
    script.given(&["accept L0", "roll 1"]);
    start(&mut script, 2);
    script.given(&["query 2 tcp:80", "listening 2"]);
    script.check(&[
        ("exited 1 signal 9", "spawn 3 in 0"),
        ("channel-ended 1", ""),
        ("+100ms", "hand c0 to 2"),
    ]);
}

#[test]
fn a_successor_that_goes_away_takes_no_address_with_it() {
    let mut script = serving(app(), 1);
    script.given(&["roll 1"]);
    start(&mut script, 2);
    script.check(&[
        ("query 2 tcp:80", "grant 2 L0"),
        ("query 2 tcp:81", "open L1 round-robin"),
        ("opened L1", "grant 2 L1"),
        ("exited 2 code 1", ""),
        ("channel-ended 2", ""),
        ("+1s", "close L1"),
        ("accept L0", "hand c0 to 1"),
        ("+60s", ""),
    ]);
}

/// A crash is seen as the end of the channel first.
#[test]
fn what_only_a_crashed_successor_wanted_is_closed() {
    let mut script = serving(app(), 1);
    script.given(&["roll 1"]);
    start(&mut script, 2);
    script.given(&["query 2 tcp:81", "opened L1", "+20s"]);
    script.check(&[("channel-ended 2", ""), ("exited 2 code 1", ""), ("+1s", "close L1")]);
}

#[test]
fn an_address_that_the_next_generation_does_not_want_is_closed() {
    let mut script = serving(app(), 1);
    script.given(&["roll 1"]);
    start(&mut script, 2);
    script.given(&["query 2 tcp:81", "opened L1", "listening 2"]);
    // After the stable time it is clear that nobody will ask for it.
    script.check(&[
        ("+100ms", "ask 1"),
        ("exited 1 code 0", ""),
        ("channel-ended 1", ""),
        ("+10800ms", ""),
        ("+100ms", "close L0"),
    ]);
}

/// Both are due at the same moment.
#[test]
fn what_was_declined_does_not_go_to_one_that_is_just_being_asked_to_leave() {
    let mut script = serving(app(), 1);
    script.given(&["roll 1"]);
    start(&mut script, 2);
    script.given(&["query 2 tcp:80", "listening 2", "+99ms", "accept L0"]);
    script.check(&[("declined 1 c0", ""), ("+1ms", "ask 1, hand c0 to 2")]);
}

/// One that is ready by other means may listen later, and clients wait for that.
#[test]
fn the_port_stays_open_for_a_successor_that_does_not_listen_yet() {
    let supervise = SuperviseSettings {
        ready: ReadyRule::Started,
        settle: Duration::ZERO,
        ..SuperviseSettings::default()
    };
    let settings = Settings { supervise, ..Settings::default() };
    let mut script = serving(Script::new(settings, Show::AllButEvents), 1);
    script.check(&[
        ("roll 1", "spawn 2 in 0 of generation 1"),
        ("spawned 2", "ask 1"),
        ("exited 1 code 0", ""),
        ("channel-ended 1", ""),
        ("+5s", ""),
        ("online 2", ""),
        ("query 2 tcp:80", "grant 2 L0"),
        ("accept L0", "hand c0 to 2"),
    ]);
}
