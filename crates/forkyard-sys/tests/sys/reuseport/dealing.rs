//! Who gets which connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use forkyard_sys::reuseport::{Dealing, Group, Kind, LIST_LIMIT, Options, Seat, address_hash};
use forkyard_sys::sockets::{OnlyV6, bind_tcp};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketType, connect, ipproto, recv, sendto, socket,
};

use super::{
    WAITING_ROOM, accept_exactly, bound, clients, counts, local, options, place_of_next, seats,
};
use crate::waiting;

#[test]
fn each_seat_in_turn_gets_one() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    group.deal_to(&seats(&[0, 1, 2])).unwrap();
    let _clients = clients(&group, 300);
    assert_eq!(counts(&group, 300), [(Seat(0), 100), (Seat(1), 100), (Seat(2), 100)]);
    assert_eq!(group.dealt(), [100, 100, 100]);
    assert_eq!(group.dealt_to_waiting_room(), 0);
}

#[test]
fn a_seat_that_is_left_out_does_not_get_the_very_next_connection() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    let mut open = Vec::new();
    for left_out in [0, 1, 2, 1, 0] {
        let rest: Vec<_> = seats(&[0, 1, 2]).into_iter().filter(|s| s.0 != left_out).collect();
        group.deal_to(&rest).unwrap();
        open.push(clients(&group, 4));
        assert_eq!(counts(&group, 4), [(rest[0], 2), (rest[1], 2)]);
    }
}

#[test]
fn with_nobody_up_connections_wait_at_the_primary() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    let _at_first = clients(&group, 3);
    assert_eq!(counts(&group, 3), [(WAITING_ROOM, 3)]);
    group.deal_to(&seats(&[1])).unwrap();
    let _then = clients(&group, 2);
    assert_eq!(counts(&group, 2), [(Seat(1), 2)]);
    group.deal_to(&[]).unwrap();
    let _at_last = clients(&group, 2);
    assert_eq!(counts(&group, 2), [(WAITING_ROOM, 2)]);
    assert_eq!((group.dealt(), group.dealt_to_waiting_room()), (vec![0, 2, 0], 5));
}

#[test]
fn a_list_is_taken_whole_or_not_at_all() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    group.deal_to(&seats(&[2])).unwrap();
    assert!(group.deal_to(&seats(&[0, 3])).is_err(), "there is no seat 3");
    assert!(group.deal_to(&vec![Seat(0); LIST_LIMIT + 1]).is_err());
    let _client = clients(&group, 1);
    assert_eq!(place_of_next(&group), Seat(2));
    group.deal_to(&vec![Seat(1); LIST_LIMIT]).unwrap();
    let _client = clients(&group, 1);
    assert_eq!(place_of_next(&group), Seat(1));
}

/// A list in which neighbours differ, so that it shows if the hash is off.
fn table() -> Vec<Seat> {
    (0..4096).map(|place| Seat((place * 7 + place / 5) % 3)).collect()
}

fn connect_from(client: IpAddr, server: SocketAddr) -> TcpStream {
    let socket = bind_tcp(SocketAddr::new(client, 0), OnlyV6::No).unwrap();
    let connected = connect(&socket, &server);
    assert!(matches!(connected, Ok(()) | Err(Errno::INPROGRESS)), "{client}: {connected:?}");
    TcpStream::from(socket)
}

/// Where the hash says that the client belongs.
fn expected(client: IpAddr, table: &[Seat]) -> Seat {
    table[address_hash(client) as usize % table.len()]
}

fn assert_dealt_by_address(group: &Group, client: IpAddr, server: IpAddr, table: &[Seat]) {
    let port = group.local_address().unwrap().port();
    let _client = connect_from(client, SocketAddr::new(server, port));
    assert_eq!(place_of_next(group), expected(client, table), "{client}");
}

#[test]
fn the_kernel_and_the_primary_agree_about_a_clients_address() {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let Some(mut group) = bound(any, options(Dealing::ByAddress)) else { return };
    let table = table();
    group.deal_to(&table).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for last in 1..=60 {
        let client = IpAddr::from(Ipv4Addr::new(127, last, 3, 255 - last));
        assert_dealt_by_address(&group, client, Ipv4Addr::LOCALHOST.into(), &table);
        seen.insert(expected(client, &table));
    }
    assert_eq!(seen.len(), 3, "the clients were at all the seats");
    let v6 = IpAddr::from(Ipv6Addr::LOCALHOST);
    assert_dealt_by_address(&group, v6, v6, &table);
}

/// All of ::1 is zeros where it counts, so the place must follow the list at 0.
#[test]
fn an_ipv6_client_goes_by_its_network() {
    let local = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let Some(mut group) = bound(local, options(Dealing::ByAddress)) else { return };
    for (first, other) in [(0, 1), (1, 2), (2, 0)] {
        let mut table = seats(&[other; 4096]);
        table[0] = Seat(first);
        group.deal_to(&table).unwrap();
        let _clients = clients(&group, 5);
        assert_eq!(counts(&group, 5), [(Seat(first), 5)], "it does not change with the port");
    }
}

/// A datagram over IPv6 as it is on the wire, from anybody.
fn forged(from: Ipv6Addr, to: SocketAddrV6) -> Vec<u8> {
    const UDP: u8 = 17;
    const LENGTH: [u8; 2] = [0, 8];
    let ends = [from.octets(), to.ip().octets()].concat();
    let ports = [[0, 7], to.port().to_be_bytes()].concat();
    // The checksum is over the addresses, length and protocol too (RFC 8200, section 8.1).
    let summed = [&ends[..], &[0, 0], &LENGTH, &[0, 0, 0, UDP], &ports, &LENGTH].concat();
    let words = summed.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum = words.sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    let header = [&[0x60, 0, 0, 0], &LENGTH[..], &[UDP, 64], &ends].concat();
    [header, ports, LENGTH.into(), checksum.to_be_bytes().into()].concat()
}

#[test]
fn the_kernel_and_the_primary_agree_about_ipv6_networks() {
    let local = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0);
    let options = Options { kind: Kind::Datagram, ..options(Dealing::ByAddress) };
    let Some(mut group) = bound(local.into(), options) else { return };
    let SocketAddr::V6(server) = group.local_address().unwrap() else { unreachable!() };
    let (family, raw) = (AddressFamily::INET6, SocketType::RAW);
    let raw = match socket(family, raw, Some(ipproto::RAW)) {
        Ok(raw) => raw,
        Err(error) => return println!("NOT TESTED: a raw socket: {error}"),
    };
    let table = table();
    group.deal_to(&table).unwrap();
    for network in 1..=60 {
        let client = Ipv6Addr::new(0x2001, 0xdb8, network, network * 257, 1, 2, 3, network);
        let to = SocketAddrV6::new(*server.ip(), 0, 0, 0);
        sendto(&raw, &forged(client, server), SendFlags::empty(), &to).unwrap();
        assert_eq!(place_of_received(&group, 0), expected(client.into(), &table), "{client}");
    }
}

#[test]
fn a_client_keeps_its_seat_as_long_as_its_place_in_the_table_does() {
    let Some(mut group) = local(Dealing::ByAddress) else { return };
    let server = group.local_address().unwrap();
    let clients: Vec<_> = (1..=40).map(|last| IpAddr::from([127, 0, 1, last])).collect();
    let first = table();
    let mut second = first.clone();
    for place in second.iter_mut().filter(|place| **place == Seat(2)) {
        *place = Seat(1);
    }
    for table in [&first, &second, &first] {
        group.deal_to(table).unwrap();
        for client in &clients {
            let _open = connect_from(*client, server);
            assert_eq!(place_of_next(&group), expected(*client, table));
        }
    }
}

fn datagram_group(dealing: Dealing) -> Option<Group> {
    let options = Options { kind: Kind::Datagram, ..options(dealing) };
    bound(super::LOCAL.into(), options)
}

/// Sends a datagram and says where it came out.
fn place_of_datagram(group: &Group, from: &UdpSocket) -> Seat {
    from.send_to(b"?", group.local_address().unwrap()).unwrap();
    place_of_received(group, 1)
}

/// Where the next datagram comes out, which has that many bytes.
fn place_of_received(group: &Group, bytes: usize) -> Seat {
    let places = super::places(group);
    let sockets: Vec<_> = places.iter().map(|(_, socket)| *socket).collect();
    let (seat, socket) = places[waiting::until_one_is_readable(&sockets)];
    assert_eq!(recv(socket, &mut [0; 8], RecvFlags::empty()).unwrap().0, bytes);
    seat
}

#[test]
fn the_datagrams_of_a_peer_stay_at_one_seat() {
    let Some(mut group) = datagram_group(Dealing::ByPeer) else { return };
    let peers: Vec<_> = (0..64).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    assert_eq!(place_of_datagram(&group, &peers[0]), WAITING_ROOM);

    let table = table();
    group.deal_to(&table).unwrap();
    let at_first: Vec<_> = peers.iter().map(|peer| place_of_datagram(&group, peer)).collect();
    let again: Vec<_> = peers.iter().map(|peer| place_of_datagram(&group, peer)).collect();
    assert_eq!(at_first, again);
    for seat in seats(&[0, 1, 2]) {
        assert!(at_first.contains(&seat), "64 peers, and none at {seat:?}");
    }

    // Seat 2 leaves: its peers go elsewhere, the others stay.
    let rest: Vec<_> = table.iter().map(|seat| Seat(seat.0.min(1))).collect();
    group.deal_to(&rest).unwrap();
    for (peer, before) in peers.iter().zip(at_first) {
        assert_eq!(place_of_datagram(&group, peer), Seat(before.0.min(1)));
    }
}

#[test]
fn datagrams_go_by_address_and_in_turn_too() {
    let Some(mut group) = datagram_group(Dealing::ByAddress) else { return };
    group.deal_to(&table()).unwrap();
    for last in 1..=20 {
        let client = IpAddr::from([127, 0, 2, last]);
        let peer = UdpSocket::bind((client, 0)).unwrap();
        assert_eq!(place_of_datagram(&group, &peer), expected(client, &table()));
    }

    let mut group = datagram_group(Dealing::InTurn).unwrap();
    group.deal_to(&seats(&[0, 2])).unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let places: Vec<_> = (0..4).map(|_| place_of_datagram(&group, &peer)).collect();
    assert_eq!(places, seats(&[0, 2, 0, 2]));
}

/// What a worker does with the socket of its seat, another process with its own descriptor.
#[test]
fn a_seats_socket_works_through_a_copy() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    group.deal_to(&seats(&[1])).unwrap();
    let copy: OwnedFd = group.socket(Seat(1)).unwrap().try_clone_to_owned().unwrap();
    let _client = clients(&group, 1);
    waiting::until_readable(&copy);
    forkyard_sys::sockets::accept(copy.as_fd()).unwrap();
    drop(copy);
    let _client = clients(&group, 1);
    assert_eq!(accept_exactly(&group, 1).len(), 1, "the primary's is open");
}
