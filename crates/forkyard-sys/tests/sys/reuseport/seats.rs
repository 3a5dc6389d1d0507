//! Seats that come and go, and what becomes of the connections that wait there.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd};

use forkyard_sys::reuseport::{CAPACITY, Dealing, Group, Heir, Options, Seat};
use forkyard_sys::sockets::accept_queue;
use rustix::net::shutdown;

use super::{
    LOCAL, WAITING_ROOM, assert_nothing_waits, bound, clients, counts, local, options,
    place_of_next, seats,
};
use crate::waiting;

/// Makes the server's side wait for the first byte: until then the handshake is half open for
/// it, and complete for the client (`TCP_DEFER_ACCEPT`, `tcp(7)`).
fn hold_handshakes_open(listener: BorrowedFd<'_>) {
    let seconds: libc::c_int = 60;
    // SAFETY: the option's value is a number, of the length told.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of_val(&seconds) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0);
}

fn waiting_at(listener: BorrowedFd<'_>) -> u32 {
    accept_queue(listener).unwrap().waiting
}

/// A connection that seat 0 was chosen for and that it has not got yet.
fn half_open(group: &mut Group) -> TcpStream {
    hold_handshakes_open(group.socket(Seat(0)).unwrap());
    group.deal_to(&seats(&[0])).unwrap();
    let client = super::client(group);
    assert_nothing_waits(group.socket(Seat(0)).unwrap());
    client
}

#[test]
fn a_seat_that_is_left_out_still_gets_the_handshakes_that_began_before() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    let mut client = half_open(&mut group);
    group.deal_to(&seats(&[1])).unwrap();
    client.write_all(b"?").unwrap();
    assert_eq!(place_of_next(&group), Seat(0));
}

#[test]
fn what_waits_at_a_closed_socket_goes_to_the_waiting_room() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    group.deal_to(&seats(&[2])).unwrap();
    let _clients = clients(&group, 3);
    let socket = group.socket(Seat(2)).unwrap();
    waiting::until(|| waiting_at(socket) == 3);
    let workers_copy = socket.try_clone_to_owned().unwrap();

    let error = group.keep_seats(2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "it is in the list");
    group.deal_to(&seats(&[0])).unwrap();
    group.keep_seats(2).unwrap();
    assert_nothing_waits(group.waiting_room());
    drop(workers_copy);
    assert_eq!(counts(&group, 3), [(WAITING_ROOM, 3)]);
}

/// Seats 0 to 2, of which 2 alone is dealt to and has three connections that wait.
fn three_wait_at_seat_2(dealing: Dealing) -> Option<(Group, Vec<TcpStream>)> {
    let heir = Heir::List;
    let mut group = bound(LOCAL.into(), Options { heir, ..options(dealing) })?;
    group.deal_to(&seats(&[2])).unwrap();
    let clients = clients(&group, 3);
    let socket = group.socket(Seat(2)).unwrap();
    waiting::until(|| waiting_at(socket) == 3);
    Some((group, clients))
}

#[test]
fn what_waits_at_a_seat_that_is_renewed_goes_to_those_in_the_list() {
    for dealing in [Dealing::InTurn, Dealing::ByAddress, Dealing::ByPeer] {
        let Some((mut group, _clients)) = three_wait_at_seat_2(dealing) else { return };
        let workers_copy = group.socket(Seat(2)).unwrap().try_clone_to_owned().unwrap();
        group.deal_to(&seats(&[0, 1])).unwrap();
        group.renew(Seat(2)).unwrap();
        assert_nothing_waits(group.socket(Seat(2)).unwrap());
        drop(workers_copy);
        let found = counts(&group, 3);
        assert_eq!(found.iter().map(|(_, count)| count).sum::<usize>(), 3);
        assert!(found.iter().all(|(seat, _)| seat.0 < 2), "{dealing:?}: {found:?}");
        // The new socket is as good as the old one was.
        group.deal_to(&seats(&[2])).unwrap();
        let _client = super::client(&group);
        assert_eq!(place_of_next(&group), Seat(2));
    }
}

#[test]
fn the_waiting_room_is_renewed_as_well() {
    let Some((mut group, _clients)) = three_wait_at_seat_2(Dealing::InTurn) else { return };
    group.deal_to(&[]).unwrap();
    group.renew(Seat(2)).unwrap();
    let room = group.waiting_room();
    waiting::until(|| waiting_at(room) == 3);
    group.deal_to(&seats(&[1])).unwrap();
    group.renew_waiting_room().unwrap();
    assert_eq!(counts(&group, 3), [(Seat(1), 3)]);
    group.deal_to(&[]).unwrap();
    let _client = super::client(&group);
    assert_eq!(place_of_next(&group), WAITING_ROOM);
}

#[test]
fn a_seat_that_is_not_there_is_not_renewed() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    assert_eq!(group.renew(Seat(3)).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_handshake_that_began_at_a_closed_socket_ends_in_the_waiting_room() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    let mut client = half_open(&mut group);
    group.deal_to(&[]).unwrap();
    group.keep_seats(0).unwrap();
    client.write_all(b"?").unwrap();
    assert_eq!(place_of_next(&group), WAITING_ROOM);
}

#[test]
fn a_handshake_that_began_in_the_waiting_room_goes_to_those_in_the_list_once_it_is_renewed() {
    let heir = Heir::List;
    let Some(mut group) = bound(LOCAL.into(), Options { heir, ..options(Dealing::InTurn) }) else {
        return;
    };
    hold_handshakes_open(group.waiting_room());
    let mut client = super::client(&group);
    assert_nothing_waits(group.waiting_room());
    group.deal_to(&seats(&[1])).unwrap();
    group.renew_waiting_room().unwrap();
    client.write_all(b"?").unwrap();
    assert_eq!(place_of_next(&group), Seat(1));
}

#[test]
fn a_socket_that_a_worker_has_shut_down_is_passed_over() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    group.deal_to(&seats(&[0, 1, 2])).unwrap();
    let _waits_there = clients(&group, 1);
    let socket = group.socket(Seat(0)).unwrap();
    waiting::until(|| waiting_at(socket) == 1);
    shutdown(socket, rustix::net::Shutdown::Both).unwrap();
    let _clients = clients(&group, 6);
    assert!(accept_queue(group.socket(Seat(0)).unwrap()).is_err(), "it does not listen");

    // poll(2) finds a socket that is shut down readable, so the queues are looked at.
    let alive = |group: &Group| {
        let queues = [Seat(1), Seat(2)].map(|seat| waiting_at(group.socket(seat).unwrap()));
        (queues.iter().sum::<u32>(), waiting_at(group.waiting_room()))
    };
    waiting::until(|| alive(&group) == (6, 1));
    group.deal_to(&seats(&[0])).unwrap();
    let _client = super::client(&group);
    waiting::until(|| alive(&group) == (6, 2));
}

#[test]
fn seats_are_added_and_removed() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    group.deal_to(&seats(&[0, 1, 2])).unwrap();
    group.add_seats(2).unwrap();
    let _clients = clients(&group, 3);
    assert_eq!(counts(&group, 3).len(), 3);
    assert_eq!(group.dealt(), [1, 1, 1, 0, 0]);
    group.deal_to(&seats(&[3, 4])).unwrap();
    let _clients = clients(&group, 4);
    assert_eq!(counts(&group, 4), [(Seat(3), 2), (Seat(4), 2)]);
    group.deal_to(&seats(&[0])).unwrap();
    group.keep_seats(1).unwrap();
    assert_eq!(group.seat_count(), 1);
    assert!(group.socket(Seat(1)).is_none());
    group.add_seats(1).unwrap();
    group.deal_to(&seats(&[1])).unwrap();
    let _clients = clients(&group, 1);
    assert_eq!(counts(&group, 1), [(Seat(1), 1)]);
}

/// The kernel makes a group for 128 sockets at first.
#[test]
fn there_are_more_seats_than_anybody_needs() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    group.add_seats(197).unwrap();
    let all: Vec<_> = (0..200).map(Seat).collect();
    group.deal_to(&all).unwrap();
    let _clients = clients(&group, 200);
    assert_eq!(counts(&group, 200), all.into_iter().map(|seat| (seat, 1)).collect::<Vec<_>>());
}

#[test]
fn there_is_an_end_of_seats() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    let error = group.add_seats(CAPACITY).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(group.seat_count(), 3);
}

/// The list is changed all the time while clients come: no connection may get lost, and none
/// may be at a seat that neither list names.
#[test]
fn connections_beside_a_change_of_the_list_go_by_either() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    group.add_seats(1).unwrap();
    let address = group.local_address().unwrap();
    group.deal_to(&seats(&[0])).unwrap();
    let clients = std::thread::spawn(move || {
        (0..500).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>()
    });
    let mut changes =
        [seats(&[0]), seats(&[0, 1, 2]), seats(&[2, 1]), seats(&[1])].into_iter().cycle();
    while !clients.is_finished() {
        group.deal_to(&changes.next().unwrap()).unwrap();
    }
    let _open = clients.join().unwrap();
    let found = counts(&group, 500);
    assert!(found.iter().all(|(seat, _)| seat.0 < 3), "{found:?}");
}

#[test]
fn shutting_down_a_client_is_no_matter_of_the_group() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    group.deal_to(&seats(&[0])).unwrap();
    let client = super::client(&group);
    client.shutdown(Shutdown::Both).unwrap();
    assert_eq!(place_of_next(&group), Seat(0));
}
