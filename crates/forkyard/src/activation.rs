//! Sockets that systemd has bound and passed to the primary (`systemd.socket(5)`,
//! `sd_listen_fds(3)`).
//!
//! They stay open in systemd when the app stops, and what comes then waits for its next start. So
//! an address that one of them has is not bound anew: it is served by that socket, whether it is a
//! worker that asks for it or the app's settings that name it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{BorrowedFd, RawFd};
use std::path::Path;

use forkyard_core::{Endpoint, Host, Transport};
use forkyard_sys::inherited::InheritedFds;
use forkyard_sys::sockets::{LocalAddress, SocketKind, is_listening, local_address, socket_kind};

/// The number of the first one (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

/// What a socket is called that has no name.
const NAMELESS: &str = "unknown";

/// The listening sockets that this process was started with by systemd, or by who passes sockets
/// in its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActivatedSockets {
    sockets: Vec<ActivatedSocket>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivatedSocket {
    number: RawFd,
    name: String,
    transport: Transport,
    address: LocalAddress,
}

/// What the environment says about them.
#[derive(Debug, Default)]
struct Announcement {
    /// `LISTEN_PID`: for whom they are.
    owner: Option<String>,
    /// `LISTEN_FDS`: how many there are.
    count: Option<String>,
    /// `LISTEN_FDNAMES`: what they are called, with colons in between.
    names: Option<String>,
}

impl ActivatedSockets {
    /// Those that the environment announces for this process, out of the descriptors that it has
    /// inherited. What is no socket to listen on is left out.
    #[must_use]
    pub fn find(inherited: &InheritedFds) -> Self {
        let variable = |name| std::env::var(name).ok();
        let announcement = Announcement {
            owner: variable("LISTEN_PID"),
            count: variable("LISTEN_FDS"),
            names: variable("LISTEN_FDNAMES"),
        };
        let announced = announcement.numbers_and_names(std::process::id());
        let sockets = announced.into_iter().filter_map(|(number, name)| {
            let found =
                inherited.get(number).and_then(|fd| ActivatedSocket::look(fd, number, name));
            if found.is_none() {
                tracing::warn!(number, "what systemd has passed is no socket to listen on");
            }
            found
        });
        Self { sockets: sockets.collect() }
    }

    /// All of them, in their order.
    pub fn all(&self) -> impl Iterator<Item = &ActivatedSocket> {
        self.sockets.iter()
    }

    /// The one that has this address already.
    pub(crate) fn stand_in(&self, endpoint: &Endpoint) -> Option<Endpoint> {
        let serves = |socket: &&ActivatedSocket| socket.serves(endpoint);
        // One for every address before one for every address of IPv4.
        let found = self.sockets.iter().filter(serves).max_by_key(|socket| socket.is_v6());
        found.map(|socket| Endpoint::Descriptor {
            number: socket.number,
            transport: socket.transport,
        })
    }
}

impl ActivatedSocket {
    /// Its number in this process.
    #[must_use]
    pub fn number(&self) -> RawFd {
        self.number
    }

    /// What it is called: `FileDescriptorName=`, or its unit's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn look(fd: BorrowedFd<'_>, number: RawFd, name: String) -> Option<Self> {
        let transport = transport_of(fd)?;
        let listens = transport == Transport::Datagram || is_listening(fd).ok()?;
        listens.then_some(Self { number, name, transport, address: local_address(fd).ok()? })
    }

    fn serves(&self, endpoint: &Endpoint) -> bool {
        if endpoint.is_datagram() != (self.transport == Transport::Datagram) {
            return false;
        }
        match (endpoint, &self.address) {
            (
                Endpoint::Tcp { host, port, .. } | Endpoint::Udp { host, port, .. },
                LocalAddress::Inet(address),
            ) => *port == address.port() && is_at(*host, address.ip()),
            (Endpoint::Unix { path, .. }, LocalAddress::Unix(Some(bound))) => {
                Path::new(path) == bound
            }
            (Endpoint::Abstract { name }, LocalAddress::Abstract(bound)) => {
                name.as_bytes() == bound
            }
            _ => false,
        }
    }

    fn is_v6(&self) -> bool {
        matches!(self.address, LocalAddress::Inet(SocketAddr::V6(_)))
    }
}

impl Announcement {
    fn numbers_and_names(self, this_process: u32) -> Vec<(RawFd, String)> {
        let is_ours = self.owner.and_then(|owner| owner.parse().ok()) == Some(this_process);
        let count = self.count.and_then(|count| count.parse().ok()).filter(|_| is_ours);
        let names = self.names.unwrap_or_default();
        let names = names.split(':').filter(|name| !name.is_empty()).map(str::to_owned);
        let names = names.chain(std::iter::repeat(NAMELESS.to_owned()));
        (FIRST..).zip(names).take(count.unwrap_or(0)).collect()
    }
}

/// How a socket is spoken to, if it is of a kind that workers can serve.
pub(crate) fn transport_of(fd: BorrowedFd<'_>) -> Option<Transport> {
    match socket_kind(fd).ok()?? {
        SocketKind::Tcp | SocketKind::UnixStream => Some(Transport::Stream),
        SocketKind::Udp => Some(Transport::Datagram),
        SocketKind::UnixDatagram | SocketKind::Other => None,
    }
}

/// Whether a socket that is bound there has what is asked for. One for every address has every
/// IPv4 address too, as a rule, and nobody else could bind these; one for a single address does
/// not stand in for all, nor the other way round.
fn is_at(host: Host, bound: IpAddr) -> bool {
    match host {
        Host::Any => bound.is_unspecified(),
        Host::V4(Ipv4Addr::UNSPECIFIED) => bound.is_unspecified(),
        Host::V4(ip) => bound == IpAddr::V4(ip),
        Host::V6(Ipv6Addr::UNSPECIFIED, _) => bound == IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Host::V6(ip, _) => bound == IpAddr::V6(ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(owner: &str, count: &str, names: Option<&str>) -> Vec<(RawFd, String)> {
        let (owner, count) = (Some(owner.to_owned()), Some(count.to_owned()));
        Announcement { owner, count, names: names.map(str::to_owned) }.numbers_and_names(7)
    }

    #[test]
    fn what_is_announced_is_for_one_process() {
        let pair = |number, name: &str| (number, name.to_owned());
        assert_eq!(announced("7", "2", Some("web:admin")), [pair(3, "web"), pair(4, "admin")]);
        assert_eq!(announced("7", "2", Some("web")), [pair(3, "web"), pair(4, "unknown")]);
        assert_eq!(announced("7", "1", None), [pair(3, "unknown")]);
        for (owner, count) in [("8", "2"), ("", "2"), ("7", ""), ("7", "-1"), ("7", "many")] {
            assert_eq!(announced(owner, count, None), [], "{owner} {count}");
        }
        assert_eq!(Announcement::default().numbers_and_names(7), []);
    }

    fn socket(number: RawFd, transport: Transport, address: LocalAddress) -> ActivatedSocket {
        ActivatedSocket { number, name: String::new(), transport, address }
    }

    fn inet(number: RawFd, address: &str) -> ActivatedSocket {
        let address = LocalAddress::Inet(address.parse().unwrap());
        socket(number, Transport::Stream, address)
    }

    /// The number of the one that stands in for this address, as people write it.
    fn number_for(sockets: &ActivatedSockets, text: &str) -> Option<RawFd> {
        let address: crate::ListenAddress = text.parse().unwrap();
        sockets.stand_in(&address.endpoint).map(|endpoint| match endpoint {
            Endpoint::Descriptor { number, .. } => number,
            other => panic!("{other:?} is no descriptor"),
        })
    }

    #[test]
    fn an_address_is_served_by_the_socket_that_has_it() {
        let udp = LocalAddress::Inet("0.0.0.0:53".parse().unwrap());
        let file = LocalAddress::Unix(Some("/run/app.sock".into()));
        let sockets = vec![
            inet(3, "0.0.0.0:80"),
            inet(4, "[::]:80"),
            inet(5, "127.0.0.1:90"),
            socket(6, Transport::Datagram, udp),
            socket(7, Transport::Stream, file),
        ];
        let sockets = ActivatedSockets { sockets };
        for (text, number) in [
            ("80", Some(4)),
            ("[::]:80", Some(4)),
            ("0.0.0.0:80", Some(4)),
            ("127.0.0.1:80", None),
            ("81", None),
            ("0", None),
            ("127.0.0.1:90", Some(5)),
            ("90", None),
            ("[::1]:90", None),
            ("udp:53", Some(6)),
            ("53", None),
            ("udp:80", None),
            ("unix:/run/app.sock", Some(7)),
            ("unix:/run/other.sock", None),
        ] {
            assert_eq!(number_for(&sockets, text), number, "{text}");
        }
    }
}
