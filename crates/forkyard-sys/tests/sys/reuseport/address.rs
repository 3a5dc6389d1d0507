//! To whom an address belongs.

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use forkyard_sys::reuseport::{Dealing, Group, Kind, Options, Seat};
use forkyard_sys::sockets::{OnlyV6, accept_queue, is_listening, listen};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};

use super::{accept_exactly, bound, client, clients, counts, local, options, places, seats};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
const STREAM: Kind = Kind::Stream { backlog: 16 };

/// What another program may have set before it binds.
#[derive(Clone, Copy, Debug)]
struct Stranger {
    kind: Kind,
    only_v6: OnlyV6,
    reuse_address: bool,
    reuse_port: bool,
}

impl Stranger {
    /// All that there are who would meet a group at that address.
    ///
    /// An IPv6 socket that is for IPv6 only does not meet one for IPv4. Nor may it be tried:
    /// once one with `SO_REUSEPORT` has been bound to the port, the kernel checks others like it
    /// against that one alone, whether or not they are for IPv6 only (`sk_reuseport_match` in
    /// `net/ipv4/inet_connection_sock.c`).
    fn all(kind: Kind, group: IpAddr) -> impl Iterator<Item = Self> {
        let both = [OnlyV6::No, OnlyV6::Yes];
        let only_v6 = if group.is_ipv4() { &both[..1] } else { &both[..] }.to_vec();
        only_v6.into_iter().flat_map(move |only_v6| {
            [(false, false), (true, false), (false, true), (true, true)].map(
                |(reuse_address, reuse_port)| Self { kind, only_v6, reuse_address, reuse_port },
            )
        })
    }

    fn take(self, address: SocketAddr) -> io::Result<OwnedFd> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let kind = match self.kind {
            Kind::Stream { .. } => SocketType::STREAM,
            Kind::Datagram => SocketType::DGRAM,
        };
        let socket = socket(family, kind, None)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, self.only_v6 == OnlyV6::Yes)?;
        }
        sockopt::set_socket_reuseaddr(&socket, self.reuse_address)?;
        sockopt::set_socket_reuseport(&socket, self.reuse_port)?;
        bind(&socket, &address)?;
        if let Kind::Stream { backlog } = self.kind {
            listen(socket.as_fd(), backlog)?;
        }
        Ok(socket)
    }
}

/// A group that serves, on a port of its own.
fn serving(address: IpAddr, kind: Kind, only_v6: OnlyV6) -> Option<Group> {
    let options = Options { kind, only_v6, ..options(Dealing::InTurn) };
    let mut group = bound(SocketAddr::new(address, 0), options)?;
    group.deal_to(&seats(&[0, 1, 2])).unwrap();
    Some(group)
}

/// Nobody who belongs to the same user, as this process does, gets one of these addresses at
/// the group's port, whatever is set.
fn assert_in_use(group: &Group, kind: Kind, addresses: &[IpAddr]) {
    let here = group.local_address().unwrap();
    for stranger in Stranger::all(kind, here.ip()) {
        for address in addresses {
            let taken = stranger.take(SocketAddr::new(*address, here.port()));
            let error = taken.expect_err(&format!("{stranger:?} got {address}"));
            assert_eq!(error.kind(), ErrorKind::AddrInUse, "{stranger:?}");
        }
    }
}

#[test]
fn an_address_of_a_group_is_in_use_for_everybody_else() {
    for kind in [STREAM, Kind::Datagram] {
        let Some(v4) = serving(V4, kind, OnlyV6::No) else { return };
        assert_in_use(&v4, kind, &[V4, ANY_V4, ANY_V6]);
        let any_v4 = serving(ANY_V4, kind, OnlyV6::No).unwrap();
        assert_in_use(&any_v4, kind, &[V4, ANY_V4, ANY_V6]);
        let v6 = serving(V6, kind, OnlyV6::No).unwrap();
        assert_in_use(&v6, kind, &[V6, ANY_V6]);
        let dual = serving(ANY_V6, kind, OnlyV6::No).unwrap();
        assert_in_use(&dual, kind, &[V4, ANY_V4, V6, ANY_V6]);
        let only_v6 = serving(ANY_V6, kind, OnlyV6::Yes).unwrap();
        assert_in_use(&only_v6, kind, &[V6, ANY_V6]);
    }
}

#[test]
fn an_address_of_a_group_is_in_use_for_another_group() {
    for kind in [STREAM, Kind::Datagram] {
        let Some(mut first) = serving(ANY_V4, kind, OnlyV6::No) else { return };
        let port = first.local_address().unwrap().port();
        let options = Options { kind, ..options(Dealing::InTurn) };
        for address in [V4, ANY_V4, ANY_V6] {
            let error = Group::bind(SocketAddr::new(address, port), options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse, "{address}");
        }
        first.add_seats(1).unwrap();
        assert_in_use(&first, kind, &[V4, ANY_V4, ANY_V6]);
    }
}

#[test]
fn a_group_does_not_join_others_who_share_the_address_among_them() {
    for kind in [STREAM, Kind::Datagram] {
        let sharing = Stranger { kind, only_v6: OnlyV6::No, reuse_address: true, reuse_port: true };
        let other = sharing.take(SocketAddr::new(V4, 0)).unwrap();
        let Ok(address) = rustix::net::getsockname(&other).unwrap().try_into() else {
            panic!("not an address of IP");
        };
        let options = Options { kind, ..options(Dealing::InTurn) };
        match Group::bind(address, options) {
            Ok(_) => panic!("it joined a {kind:?}"),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                println!("NOT TESTED: {error}");
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse),
        }
    }
}

#[test]
fn other_addresses_are_for_others() {
    let Some(v4) = serving(V4, STREAM, OnlyV6::No) else { return };
    let port = v4.local_address().unwrap().port();
    let plain =
        Stranger { kind: STREAM, only_v6: OnlyV6::Yes, reuse_address: true, reuse_port: false };
    plain.take(SocketAddr::from(([127, 0, 0, 2], port))).unwrap();
    let udp = Stranger { kind: Kind::Datagram, ..plain };
    udp.take(SocketAddr::new(V4, port)).unwrap();
}

#[test]
fn both_versions_of_ip_are_served_as_told() {
    let Some(dual) = serving(ANY_V6, STREAM, OnlyV6::No) else { return };
    let port = dual.local_address().unwrap().port();
    let _clients = [V4, V6, V4].map(|address| TcpStream::connect((address, port)).unwrap());
    assert_eq!(counts(&dual, 3), [(Seat(0), 1), (Seat(1), 1), (Seat(2), 1)]);
    drop(dual);

    let only_v6 = serving(ANY_V6, STREAM, OnlyV6::Yes).unwrap();
    let port = only_v6.local_address().unwrap().port();
    let _client = TcpStream::connect((V6, port)).unwrap();
    assert_eq!(accept_exactly(&only_v6, 1).len(), 1);
    let error = TcpStream::connect((V4, port)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn every_socket_is_as_all_sockets_here() {
    let Some(group) = local(Dealing::InTurn) else { return };
    let address = group.local_address().unwrap();
    assert_ne!(address.port(), 0);
    let places = places(&group);
    assert_eq!(places.len(), 4);
    for (_, socket) in places {
        assert!(fcntl_getfl(socket).unwrap().contains(OFlags::NONBLOCK));
        assert!(fcntl_getfd(socket).unwrap().contains(FdFlags::CLOEXEC));
        assert!(is_listening(socket).unwrap());
        assert_eq!(accept_queue(socket).unwrap().limit, 1024);
    }
}

#[test]
fn a_port_is_free_again_after_a_restart() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    group.deal_to(&seats(&[0])).unwrap();
    let address = group.local_address().unwrap();
    let mut client = client(&group);
    // The side that closes first keeps the port for a minute.
    drop(accept_exactly(&group, 1));
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop((client, group));
    let group = Group::bind(address, options(Dealing::InTurn)).unwrap();
    assert_eq!(group.local_address().unwrap(), address);
}

#[test]
fn what_waits_is_told() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    group.deal_to(&seats(&[1])).unwrap();
    let _clients = clients(&group, 5);
    let socket = group.socket(Seat(1)).unwrap();
    crate::waiting::until(|| accept_queue(socket).unwrap().waiting == 5);
    drop(accept_exactly(&group, 2));
    assert_eq!(accept_queue(socket).unwrap().waiting, 3);
    assert_eq!(accept_queue(group.socket(Seat(0)).unwrap()).unwrap().waiting, 0);
}

#[test]
fn what_does_not_listen_has_no_queue() {
    let pipe = io::pipe().unwrap().0;
    assert_eq!(accept_queue(pipe.as_fd()).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
    let udp = std::net::UdpSocket::bind((V4, 0)).unwrap();
    assert!(accept_queue(udp.as_fd()).is_err());
    let bound = forkyard_sys::sockets::bind_tcp((V4, 0).into(), OnlyV6::No).unwrap();
    assert_eq!(accept_queue(bound.as_fd()).unwrap_err().kind(), ErrorKind::InvalidInput);
}
