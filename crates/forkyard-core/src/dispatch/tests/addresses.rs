//! What is one listener, and who gets it.

use super::{app, start};
use crate::dispatch::{Endpoint, Host, ListenerSpec, MAX_LISTENERS, Transport};

#[test]
fn the_same_address_means_the_same_listener() {
    let mut script = app();
    script.given(&["fork", "fork"]);
    (1..=2).for_each(|worker| start(&mut script, worker));
    script.check(&[
        ("query 1 tcp:80", "open L0 round-robin"),
        ("query 2 tcp:80", ""),
        ("opened L0", "grant 1 L0, grant 2 L0"),
    ]);
}

#[test]
fn any_free_port_is_the_same_by_index() {
    let mut script = app();
    script.given(&["fork", "fork"]);
    (1..=2).for_each(|worker| start(&mut script, worker));
    script.check(&[
        ("query 1 tcp:0#0", "open L0 round-robin"),
        ("query 1 tcp:0#1", "open L1 round-robin"),
        ("opened L0", "grant 1 L0"),
        ("opened L1", "grant 1 L1"),
        ("query 2 tcp:0#1", "grant 2 L1"),
        ("query 2 tcp:0#0", "grant 2 L0"),
        ("query 2 tcp:0#0", "refuse 2 AlreadyHeld"),
    ]);
}

#[test]
fn an_index_counts_only_where_one_address_can_mean_several_listeners() {
    let (host, only_v6) = (Host::Any, false);
    let udp = |port| Endpoint::Udp { host, port, only_v6, reuse_address: false };
    let unix = Endpoint::Unix { path: "/run/app".into(), readable_all: false, writable_all: false };
    let inherited = |transport| Endpoint::Descriptor { number: 3, transport };
    let rows = [
        (Endpoint::Tcp { host, port: 0, only_v6 }, 4),
        (Endpoint::Tcp { host, port: 80, only_v6 }, 0),
        (udp(0), 4),
        (udp(53), 4),
        (unix, 0),
        (Endpoint::Abstract { name: "app".into() }, 0),
        (inherited(Transport::Stream), 0),
        (inherited(Transport::Datagram), 4),
    ];
    for (endpoint, index) in rows {
        assert_eq!(ListenerSpec::new(endpoint.clone(), 4).index, index, "{endpoint:?}");
    }
}

#[test]
fn a_second_server_of_one_worker_on_one_address_is_refused() {
    let mut script = app();
    script.given(&["fork", "spawned 1", "online 1"]);
    script.check(&[
        ("query 1 tcp:80", "open L0 round-robin"),
        ("query 1 tcp:80#1", "refuse 1 AlreadyHeld"),
        ("opened L0", "grant 1 L0"),
        ("query 1 tcp:80", "refuse 1 AlreadyHeld"),
        ("closed 1 L0", ""),
        ("query 1 tcp:80", "grant 1 L0"),
    ]);
}

#[test]
fn a_failed_bind_refuses_all_who_wait_and_is_tried_again_when_asked() {
    let mut script = app();
    script.given(&["fork", "fork"]);
    (1..=2).for_each(|worker| start(&mut script, worker));
    script.check(&[
        ("query 1 tcp:80", "open L0 round-robin"),
        ("query 2 tcp:80", ""),
        ("open-failed L0 98", "refuse 1 System(98), refuse 2 System(98)"),
        ("accept L0", "no capacity"),
        ("query 1 tcp:80", "open L1 round-robin"),
        ("opened L1", "grant 1 L1"),
        ("accept L1", "hand c0 to 1"),
    ]);
}

#[test]
fn who_is_gone_when_the_bind_succeeds_is_not_answered() {
    let mut script = app();
    script.given(&["fork", "spawned 1", "online 1", "query 1 tcp:80"]);
    script.check(&[
        ("exited 1 code 1", ""),
        ("channel-ended 1", ""),
        ("opened L0", ""),
        ("accept L0", "no capacity"),
        ("+100ms", "spawn 2 in 0"),
        ("spawned 2", ""),
        ("online 2", ""),
        ("query 2 tcp:80", "grant 2 L0"),
    ]);
}

#[test]
fn the_first_question_decides_the_policy_and_datagrams_are_always_shared() {
    let mut script = app();
    script.given(&["fork", "fork"]);
    (1..=2).for_each(|worker| start(&mut script, worker));
    script.check(&[
        ("query 1 tcp:80 shared", "open L0 shared"),
        ("query 2 tcp:80", ""),
        ("query 1 udp:53", "open L1 round-robin"),
    ]);
}

/// An address of which nobody knows yet whether it is wanted is in nobody's way.
#[test]
fn a_new_address_closes_only_what_it_would_clash_with() {
    let mut script = app();
    script.given(&["fork", "fork"]);
    (1..=2).for_each(|worker| start(&mut script, worker));
    for (id, spec) in ["tcp:80", "tcp:0", "udp:80", "unix:/a"].iter().enumerate() {
        script.given(&[&format!("query 1 {spec}"), &format!("opened L{id}")]);
    }
    script.given(&["closed 1 L0", "closed 1 L1", "closed 1 L2", "closed 1 L3"]);
    script.check(&[
        ("query 2 unix:/b", "open L4 round-robin"),
        ("query 2 udp:81", "open L5 round-robin"),
        ("query 2 tcp:0#1", "open L6 round-robin"),
        ("query 2 udp6:80", "close L2, open L7 round-robin"),
        // Port 0 may have become any port.
        ("query 2 tcp6:80", "close L0, close L1, open L8 round-robin"),
    ]);
}

#[test]
fn a_bound_address_is_in_the_way_of_the_same_port_or_path() {
    let (host, only_v6) = (Host::Any, false);
    let tcp = |port| Endpoint::Tcp { host, port, only_v6 };
    let udp = |port| Endpoint::Udp { host, port, only_v6, reuse_address: false };
    let local = Endpoint::Tcp { host: Host::V4([127, 0, 0, 1].into()), port: 80, only_v6 };
    let unix = |path: &str, readable_all| Endpoint::Unix {
        path: path.into(),
        readable_all,
        writable_all: false,
    };
    let inherited = |transport| Endpoint::Descriptor { number: 3, transport };
    let rows = [
        (tcp(80), local.clone(), true),
        (local, tcp(80), true),
        (tcp(80), tcp(81), false),
        (tcp(80), udp(80), false),
        (tcp(0), tcp(80), true),
        (tcp(80), tcp(0), false),
        (tcp(0), tcp(0), false),
        (udp(53), udp(53), true),
        (udp(0), udp(0), false),
        (unix("/a", false), unix("/a", true), true),
        (unix("/a", false), unix("/b", false), false),
        (unix("/a", false), Endpoint::Abstract { name: "/a".into() }, false),
        (inherited(Transport::Stream), tcp(80), false),
        (inherited(Transport::Stream), inherited(Transport::Datagram), false),
    ];
    for (bound, wanted, expected) in rows {
        assert_eq!(bound.is_in_the_way_of(&wanted), expected, "{bound:?} and {wanted:?}");
    }
}

#[test]
fn there_is_a_limit_to_listeners() {
    let mut script = app();
    script.given(&["fork", "spawned 1", "online 1"]);
    for index in 0..MAX_LISTENERS {
        script.given(&[&format!("query 1 tcp:0#{index}"), &format!("opened L{index}")]);
    }
    script.check(&[
        (&format!("query 1 tcp:0#{MAX_LISTENERS}"), "refuse 1 TooMany"),
        ("closed 1 L5", ""),
        // What nobody holds makes room at once.
        ("query 1 unix:/a", &format!("close L5, open L{} round-robin", MAX_LISTENERS + 1)),
    ]);
}
