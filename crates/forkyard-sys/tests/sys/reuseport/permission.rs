//! What the system has to allow, and what is said when it does not.

use std::io::ErrorKind;
use std::thread;

use forkyard_sys::reuseport::{Dealing, Group, NotPermitted, permitted};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::{LOCAL, clients, counts, options, seats};

/// Runs `body` on a thread that has these capabilities and no others. They are a thread's own.
fn with_only(allowed: CapabilitySet, body: impl FnOnce() + Send) {
    let restricted = move || {
        let held = capabilities(None).unwrap().permitted;
        if !held.contains(allowed) {
            return println!("NOT TESTED: this process itself lacks {allowed:?}");
        }
        let (effective, permitted) = (allowed, allowed);
        let inheritable = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective, permitted, inheritable }).unwrap();
        body();
    };
    thread::scope(|scope| scope.spawn(restricted).join().unwrap());
}

/// What is said without the capability, for asking and for trying.
fn assert_lacking(name: &str) {
    let reason = permitted().unwrap_err();
    assert!(matches!(reason, NotPermitted::Capability(lacking) if lacking == name), "{reason:?}");
    assert_eq!(reason.to_string(), format!("this process lacks {name}"));
    let error = Group::bind(LOCAL.into(), options(Dealing::InTurn)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(error.to_string(), reason.to_string());
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<NotPermitted>());
    assert!(matches!(inner, Some(NotPermitted::Capability(lacking)) if *lacking == name));
}

#[test]
fn without_capabilities_the_one_that_is_lacking_is_named() {
    with_only(CapabilitySet::empty(), || match permitted() {
        Err(NotPermitted::Kernel) => println!("NOT TESTED: the kernel has no BPF"),
        _ => assert_lacking("CAP_BPF"),
    });
}

#[test]
fn sockets_cannot_be_given_away_without_another_capability() {
    with_only(CapabilitySet::BPF, || match permitted() {
        Err(NotPermitted::Kernel | NotPermitted::Sandbox) => println!("NOT TESTED: no BPF here"),
        _ => assert_lacking("CAP_CHOWN"),
    });
}

#[test]
fn two_capabilities_are_enough_for_all_kinds_of_dealing() {
    with_only(CapabilitySet::BPF | CapabilitySet::CHOWN, || {
        if let Err(reason) = permitted() {
            return println!("NOT TESTED: {reason}");
        }
        for dealing in [Dealing::InTurn, Dealing::ByAddress, Dealing::ByPeer] {
            let mut group = Group::bind(LOCAL.into(), options(dealing)).unwrap();
            group.deal_to(&seats(&[0, 1, 2])).unwrap();
            let _clients = clients(&group, 3);
            assert!(counts(&group, 3).iter().all(|(seat, _)| seat.0 < 3));
        }
    });
}

#[test]
fn a_change_of_the_list_needs_no_capability() {
    let Some(mut group) = super::local(Dealing::InTurn) else { return };
    with_only(CapabilitySet::empty(), || {
        group.deal_to(&seats(&[2])).unwrap();
        let _client = clients(&group, 1);
        assert_eq!(super::place_of_next(&group), forkyard_sys::reuseport::Seat(2));
    });
}
