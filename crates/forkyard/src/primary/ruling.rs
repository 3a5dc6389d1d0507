//! What the system makes of a policy, and why.

use std::fmt::Display;
use std::net::IpAddr;

use forkyard_core::{Access, Choice, Dealing, Endpoint, Host, Policy, Transport};
use forkyard_sys::reuseport;

/// What is in force for one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ruling {
    /// Its name for people, which is never `auto`.
    pub(super) policy: Policy,
    /// Why it is that one, if it is not just what was asked for.
    pub(super) reason: Option<String>,
    pub(super) dealing: Dealing,
    /// How the kernel deals, if it does.
    pub(super) by_kernel: Option<reuseport::Dealing>,
}

impl Ruling {
    fn primary(policy: Policy, choice: Choice) -> Self {
        Self { policy, reason: None, dealing: Dealing::ByPrimary(choice), by_kernel: None }
    }

    fn kernel(policy: Policy, choice: Choice, by_kernel: reuseport::Dealing) -> Self {
        let dealing = Dealing::ByKernel(choice);
        Self { policy, reason: None, dealing, by_kernel: Some(by_kernel) }
    }

    fn shared() -> Self {
        let dealing = Dealing::ByWorkers;
        Self { policy: Policy::Shared, reason: None, dealing, by_kernel: None }
    }

    fn because(mut self, reason: impl Display) -> Self {
        self.reason = Some(reason.to_string());
        self
    }
}

/// Decides on a listener. `permitted` finds out whether the kernel can deal; if not, why.
pub(super) fn rule(
    (endpoint, access): (&Endpoint, Access),
    policy: Policy,
    permitted: impl FnOnce() -> Result<(), String>,
) -> Ruling {
    let kernel = || may_have_lanes(endpoint).and_then(|()| permitted());
    match endpoint.is_datagram() {
        true => rule_datagrams(endpoint, policy, kernel),
        false if access == Access::Inherited => rule_inherited(policy, kernel),
        false => rule_connections(endpoint, policy, kernel),
    }
}

/// Workers that are started with a socket cannot be handed connections. With one for all of
/// them none waits for a worker that is busy, so that is what they get unless somebody wants
/// it otherwise.
fn rule_inherited(policy: Policy, kernel: impl FnOnce() -> Result<(), String>) -> Ruling {
    let by_kernel = |choice, dealing| match kernel() {
        Ok(()) => Ruling::kernel(policy, choice, dealing),
        Err(why) => Ruling::shared().because(why),
    };
    match policy {
        Policy::Kernel => by_kernel(Choice::InTurn, reuseport::Dealing::InTurn),
        Policy::IpHash => by_kernel(Choice::ByOrigin, reuseport::Dealing::ByAddress),
        Policy::Shared => Ruling::shared(),
        Policy::Auto | Policy::RoundRobin | Policy::LeastConnections => {
            Ruling::shared().because("workers inherit the socket and cannot be handed connections")
        }
    }
}

fn rule_connections(
    endpoint: &Endpoint,
    policy: Policy,
    kernel: impl FnOnce() -> Result<(), String>,
) -> Ruling {
    let round_robin = Ruling::primary(Policy::RoundRobin, Choice::InTurn);
    match policy {
        Policy::Auto | Policy::Kernel => match kernel() {
            Ok(()) => Ruling::kernel(Policy::Kernel, Choice::InTurn, reuseport::Dealing::InTurn),
            Err(why) => round_robin.because(why),
        },
        Policy::RoundRobin => round_robin,
        Policy::LeastConnections => Ruling::primary(policy, Choice::LeastConnections),
        Policy::IpHash if has_no_addresses(endpoint) => {
            round_robin.because("clients of a Unix socket have no address")
        }
        Policy::IpHash => match kernel() {
            Ok(()) => Ruling::kernel(policy, Choice::ByOrigin, reuseport::Dealing::ByAddress),
            Err(why) => {
                Ruling::primary(policy, Choice::ByOrigin).because(format!("by the primary: {why}"))
            }
        },
        Policy::Shared => Ruling::shared(),
    }
}

/// Nobody can receive datagrams for somebody else, so a peer's have to stay with one worker,
/// or all workers take what comes.
fn rule_datagrams(
    endpoint: &Endpoint,
    policy: Policy,
    kernel: impl FnOnce() -> Result<(), String>,
) -> Ruling {
    let by_kernel = |policy, dealing| match kernel() {
        Ok(()) => Ruling::kernel(policy, Choice::ByOrigin, dealing),
        Err(why) => Ruling::shared().because(why),
    };
    match policy {
        Policy::Auto if gets_broadcasts(endpoint) => Ruling::shared()
            .because("UDP on every address, where each broadcast would come to each worker"),
        Policy::Auto | Policy::Kernel => by_kernel(Policy::Kernel, reuseport::Dealing::ByPeer),
        Policy::IpHash => by_kernel(policy, reuseport::Dealing::ByAddress),
        Policy::RoundRobin | Policy::LeastConnections => Ruling::shared().because("UDP"),
        Policy::Shared => Ruling::shared(),
    }
}

/// Whether this kind of address can have a socket for every worker.
fn may_have_lanes(endpoint: &Endpoint) -> Result<(), String> {
    let why = match endpoint {
        Endpoint::Tcp { .. } | Endpoint::Udp { reuse_address: false, .. } => return Ok(()),
        Endpoint::Udp { .. } => "its address may be bound by others too",
        Endpoint::Unix { .. } | Endpoint::Abstract { .. } => "a Unix socket",
        Endpoint::Descriptor { .. } => "an inherited socket",
    };
    Err(why.into())
}

fn has_no_addresses(endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Unix { .. } | Endpoint::Abstract { .. })
}

/// Whether datagrams can come that are for everybody. The kernel gives these to every socket of
/// a group.
fn gets_broadcasts(endpoint: &Endpoint) -> bool {
    let is_one_machines = |ip: IpAddr| !(ip.is_unspecified() || ip.is_multicast());
    match endpoint {
        Endpoint::Udp { host: Host::V4(ip), .. } => {
            !is_one_machines((*ip).into()) || ip.is_broadcast()
        }
        Endpoint::Udp { host: Host::V6(ip, _), .. } => !is_one_machines((*ip).into()),
        Endpoint::Udp { host: Host::Any, .. }
        | Endpoint::Descriptor { transport: Transport::Datagram, .. } => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const TCP: Endpoint = Endpoint::Tcp { host: Host::Any, port: 80, only_v6: false };

    fn udp(host: Host) -> Endpoint {
        Endpoint::Udp { host, port: 53, only_v6: false, reuse_address: false }
    }

    fn unix() -> Endpoint {
        Endpoint::Unix { path: "/x".into(), readable_all: false, writable_all: false }
    }

    /// What is in force with and without permission.
    fn told(endpoint: &Endpoint, policy: Policy) -> [String; 2] {
        told_of((endpoint, Access::Asked), policy)
    }

    fn told_of((endpoint, access): (&Endpoint, Access), policy: Policy) -> [String; 2] {
        [Ok(()), Err("no".to_owned())].map(|permitted| {
            let Ruling { policy, reason, .. } = rule((endpoint, access), policy, || permitted);
            reason.map_or(policy.name().into(), |reason| format!("{}: {reason}", policy.name()))
        })
    }

    #[test]
    fn connections_are_dealt_by_the_kernel_where_it_can() {
        for (policy, expected) in [
            (Policy::Auto, ["kernel", "round-robin: no"]),
            (Policy::Kernel, ["kernel", "round-robin: no"]),
            (Policy::RoundRobin, ["round-robin", "round-robin"]),
            (Policy::LeastConnections, ["least-connections", "least-connections"]),
            (Policy::IpHash, ["ip-hash", "ip-hash: by the primary: no"]),
            (Policy::Shared, ["shared", "shared"]),
        ] {
            assert_eq!(told(&TCP, policy), expected);
        }
    }

    #[test]
    fn what_cannot_be_many_sockets_is_dealt_by_the_primary() {
        let inherited = Endpoint::Descriptor { number: 3, transport: Transport::Stream };
        for (endpoint, policy, expected) in [
            (unix(), Policy::Auto, "round-robin: a Unix socket"),
            (Endpoint::Abstract { name: "x".into() }, Policy::Kernel, "round-robin: a Unix socket"),
            (unix(), Policy::IpHash, "round-robin: clients of a Unix socket have no address"),
            (unix(), Policy::Shared, "shared"),
            (inherited.clone(), Policy::Auto, "round-robin: an inherited socket"),
            (inherited, Policy::IpHash, "ip-hash: by the primary: an inherited socket"),
        ] {
            assert_eq!(told(&endpoint, policy)[0], expected, "{endpoint:?}");
        }
    }

    #[test]
    fn what_is_inherited_cannot_be_handed_over() {
        let inherit = "shared: workers inherit the socket and cannot be handed connections";
        for (policy, expected) in [
            (Policy::Auto, [inherit; 2]),
            (Policy::RoundRobin, [inherit; 2]),
            (Policy::LeastConnections, [inherit; 2]),
            (Policy::Kernel, ["kernel", "shared: no"]),
            (Policy::IpHash, ["ip-hash", "shared: no"]),
            (Policy::Shared, ["shared"; 2]),
        ] {
            assert_eq!(told_of((&TCP, Access::Inherited), policy), expected);
        }
    }

    #[test]
    fn datagrams_stay_with_one_worker_or_are_anybodys() {
        let here = Host::V4(Ipv4Addr::LOCALHOST);
        let everywhere = "shared: UDP on every address, where each broadcast would come to each \
                          worker";
        for (host, policy, expected) in [
            (here, Policy::Auto, ["kernel", "shared: no"]),
            (here, Policy::IpHash, ["ip-hash", "shared: no"]),
            (here, Policy::RoundRobin, ["shared: UDP", "shared: UDP"]),
            (Host::V4(Ipv4Addr::UNSPECIFIED), Policy::Auto, [everywhere; 2]),
            (Host::V6(Ipv6Addr::UNSPECIFIED, 0), Policy::Auto, [everywhere; 2]),
            (Host::V4(Ipv4Addr::new(224, 0, 0, 1)), Policy::Auto, [everywhere; 2]),
            (Host::V4(Ipv4Addr::UNSPECIFIED), Policy::Kernel, ["kernel", "shared: no"]),
        ] {
            assert_eq!(told(&udp(host), policy), expected, "{host:?}");
        }
    }
}
