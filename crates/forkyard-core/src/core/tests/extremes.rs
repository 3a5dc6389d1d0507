//! Settings that nobody means literally: for ever, and not at all.

use std::time::Duration;

use crate::script::{Script, Show};
use crate::{DispatchSettings, RestartSettings, Settings, SuperviseSettings};

/// Every time there is, set to the same.
fn all(time: Duration) -> Script {
    let restart = RestartSettings {
        delay: time,
        max_delay: time,
        window: time,
        reset_after: time,
        ..RestartSettings::default()
    };
    let supervise = SuperviseSettings {
        restart,
        start_timeout: Some(time),
        drain_timeout: time,
        term_timeout: time,
        exit_grace: time,
        ..SuperviseSettings::default()
    };
    let dispatch =
        DispatchSettings { linger: time, accept_pause: time, ..DispatchSettings::default() };
    Script::new(Settings { supervise, dispatch, ..Settings::default() }, Show::AllButEvents)
}

#[test]
fn what_takes_for_ever_never_comes() {
    let mut script = all(Duration::MAX);
    script.given(&["fork", "fork", "fork", "fork"]);
    script.check(&[
        ("spawned 1", ""),
        ("online 1", ""),
        ("query 1 tcp:80", "open L0 round-robin"),
        ("opened L0", "grant 1 L0"),
        ("listening 1", ""),
        ("accept-failed L0", ""),
        ("closed 1 L0", ""),
        ("leave 1", "acknowledge 1"),
        ("spawn-failed 2", ""),
        ("spawned 3", ""),
        ("online 3", ""),
        ("channel-ended 3", ""),
        ("spawned 4", ""),
        ("online 4", ""),
        ("retire 3", "ask 4"),
        ("channel-ended 4", ""),
        ("+31536000s", ""),
        ("stop terminate", "close L0, terminate 1, terminate 3, terminate 4"),
        ("+31536000s", ""),
    ]);
}

#[test]
fn what_takes_no_time_comes_at_once() {
    let mut script = all(Duration::ZERO);
    script.check(&[
        ("fork", "spawn 1 in 0"),
        ("spawned 1", ""),
        ("online 1", ""),
        ("+0s", "terminate 1, kill 1"),
        ("exited 1 signal 9", "spawn 2 in 0"),
        ("spawned 2", ""),
        ("online 2", ""),
        ("listening 2", ""),
        ("query 2 tcp:80", "open L0 round-robin"),
        ("opened L0", "grant 2 L0"),
        ("accept-failed L0", ""),
        ("+0s", ""),
        ("closed 2 L0", ""),
        ("+0s", "close L0"),
        ("leave 2", "acknowledge 2"),
        ("+0s", "terminate 2, kill 2"),
        ("exited 2 signal 9", "spawn 3 in 0"),
    ]);
}
