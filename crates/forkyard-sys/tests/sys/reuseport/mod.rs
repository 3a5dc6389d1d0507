//! One address dealt out to many sockets, with real connections.
//!
//! Where BPF is not permitted these tests print so, and check that it is said clearly.

mod address;
mod dealing;
mod parts;
mod permission;
mod seats;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use forkyard_sys::reuseport::{CAPACITY, Dealing, Group, Heir, Kind, Options, Seat, permitted};
use forkyard_sys::sockets::{OnlyV6, accept};

use crate::waiting;

const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// The place of the waiting room among the seats.
const WAITING_ROOM: Seat = Seat(CAPACITY);

/// Three seats for TCP, nobody up yet.
fn options(dealing: Dealing) -> Options {
    let kind = Kind::Stream { backlog: 1024 };
    Options { kind, only_v6: OnlyV6::No, seats: 3, dealing, heir: Heir::WaitingRoom }
}

/// Such a group on the loopback interface, or `None` where that is not permitted.
fn local(dealing: Dealing) -> Option<Group> {
    bound(LOCAL.into(), options(dealing))
}

fn bound(address: SocketAddr, options: Options) -> Option<Group> {
    let Err(reason) = permitted() else {
        return Some(Group::bind(address, options).unwrap());
    };
    let error = Group::bind(address, options).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported));
    assert_eq!(error.to_string(), reason.to_string());
    println!("NOT TESTED but for its error: {error}");
    None
}

fn seats(numbers: &[u16]) -> Vec<Seat> {
    numbers.iter().copied().map(Seat).collect()
}

fn client(group: &Group) -> TcpStream {
    TcpStream::connect(group.local_address().unwrap()).unwrap()
}

fn clients(group: &Group, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| client(group)).collect()
}

/// Each socket of the group with its place.
fn places(group: &Group) -> Vec<(Seat, BorrowedFd<'_>)> {
    let seats = (0..CAPACITY).map(Seat).map_while(|seat| Some((seat, group.socket(seat)?)));
    seats.chain([(WAITING_ROOM, group.waiting_room())]).collect()
}

/// Accepts until it has that many connections, and says where they were.
fn accept_exactly(group: &Group, count: usize) -> BTreeMap<Seat, Vec<OwnedFd>> {
    let mut found: BTreeMap<Seat, Vec<OwnedFd>> = BTreeMap::new();
    for _ in 0..count {
        let sockets = places(group);
        let fds: Vec<_> = sockets.iter().map(|(_, socket)| *socket).collect();
        let (seat, socket) = sockets[waiting::until_one_is_readable(&fds)];
        found.entry(seat).or_default().push(accept(socket).unwrap());
    }
    found
}

/// How many connections there were at each place, once there are that many.
fn counts(group: &Group, count: usize) -> Vec<(Seat, usize)> {
    let found = accept_exactly(group, count);
    found.into_iter().map(|(seat, accepted)| (seat, accepted.len())).collect()
}

/// Where the one connection is that is under way.
fn place_of_next(group: &Group) -> Seat {
    counts(group, 1)[0].0
}

fn assert_nothing_waits(socket: impl AsFd) {
    assert_eq!(accept(socket.as_fd()).unwrap_err().kind(), ErrorKind::WouldBlock);
}
