//! A group in the next image of the process.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use forkyard_sys::image::replace;
use forkyard_sys::inherited::take_one;
use forkyard_sys::reuseport::{Dealing, Group, Parts, Seat};

use super::{clients, counts, local, place_of_next, seats};
use crate::{image, own_process};

#[test]
fn a_group_is_put_together_again() {
    let Some(mut group) = local(Dealing::InTurn) else { return };
    group.deal_to(&seats(&[1])).unwrap();
    let _before = clients(&group, 2);
    let address = group.local_address().unwrap();

    let parts = group.into_parts();
    let _between = std::net::TcpStream::connect(address).unwrap();
    let mut group = Group::from_parts(parts).unwrap();
    assert_eq!(group.local_address().unwrap(), address);
    assert_eq!(counts(&group, 3), [(Seat(1), 3)], "nothing changed for clients");
    assert_eq!(group.dealt(), [0, 3, 0], "what was dealt is known");

    group.add_seats(1).unwrap();
    group.deal_to(&seats(&[3])).unwrap();
    let _after = clients(&group, 1);
    assert_eq!(place_of_next(&group), Seat(3));
}

#[test]
fn what_is_no_board_is_refused() {
    let Some(group) = local(Dealing::InTurn) else { return };
    let Parts { waiting_room, seats, sockets, .. } = group.into_parts();
    let board = sockets.try_clone().unwrap();
    assert!(Group::from_parts(Parts { waiting_room, seats, sockets, board }).is_err());
}

/// The numbers of the descriptors, in a fixed order.
fn written(parts: &Parts<BorrowedFd<'_>>) -> String {
    let fixed = [parts.waiting_room, parts.sockets, parts.board];
    let all = fixed.iter().chain(&parts.seats).map(|fd| fd.as_raw_fd().to_string());
    all.collect::<Vec<_>>().join(" ")
}

fn taken(written: &str) -> Parts {
    let mut fds = written.split(' ').map(|number| take_one(number.parse().unwrap()).unwrap());
    let mut next = || fds.next().unwrap();
    let (waiting_room, sockets, board) = (next(), next(), next());
    Parts { waiting_room, sockets, board, seats: fds.collect() }
}

#[test]
fn a_group_outlives_the_program_that_made_it() {
    const NAME: &str = "reuseport::parts::a_group_outlives_the_program_that_made_it";
    own_process::run(NAME, || {
        if let Ok(parts) = std::env::var("PARTS") {
            let mut group = Group::from_parts(taken(&parts)).unwrap();
            assert_eq!(counts(&group, 4), [(Seat(0), 2), (Seat(2), 2)], "from before");
            group.deal_to(&seats(&[1])).unwrap();
            let _clients = clients(&group, 1);
            assert_eq!(place_of_next(&group), Seat(1));
            return;
        }
        let Some(mut group) = local(Dealing::InTurn) else { return };
        group.deal_to(&seats(&[0, 2])).unwrap();
        let _clients = clients(&group, 4);
        let parts = group.parts();
        let mut keep = vec![parts.waiting_room, parts.sockets, parts.board];
        keep.extend(&parts.seats);
        // The clients' ends close with this program; what they had sent would still be there.
        let image = image::successor(NAME, &[("PARTS", written(&parts))]);
        panic!("failed to execute: {}", replace(&image, &keep));
    });
}

#[test]
fn dropping_a_group_closes_all_of_it() {
    let Some(group) = local(Dealing::InTurn) else { return };
    let address = group.local_address().unwrap();
    let board = group.parts().board.as_fd().as_raw_fd();
    assert!(board > 2);
    drop(group);
    let error = std::net::TcpStream::connect(address).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}
