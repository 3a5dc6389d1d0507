//! Which connections the kernel says are held.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use forkyard_sys::sockets::{Inode, Place, held_at, inode};

fn place(listener: impl AsFd) -> Place {
    Place::of(listener.as_fd()).unwrap().expect("a place")
}

fn is_held(place: Place, inode: Inode) -> bool {
    held_at(place).unwrap().contains(&inode)
}

/// Held, in every way that a connection can be; then closed.
fn follow(place: Place, accepted: OwnedFd, client: OwnedFd) {
    let known = inode(accepted.as_fd()).unwrap();
    assert!(is_held(place, known));
    let elsewhere = accepted.try_clone().unwrap();
    drop(accepted);
    assert!(is_held(place, known), "another descriptor of it is open");
    drop(client);
    assert!(is_held(place, known), "the client has closed its end, and this one is open");
    drop(elsewhere);
    assert!(!is_held(place, known));
}

#[test]
fn a_tcp_connection_is_held_until_its_last_descriptor_is_closed() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        follow(place(&listener), accepted.into(), client.into());
    }
}

#[test]
fn a_connection_by_ipv4_is_found_where_its_listener_is() {
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    assert_eq!(place(&listener), Place::V6(port));
    follow(place(&listener), accepted.into(), client.into());
}

#[test]
fn a_unix_connection_is_held_until_its_last_descriptor_is_closed() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path)?;
    let client = UnixStream::connect(&path)?;
    let (accepted, _) = listener.accept()?;
    assert_eq!(place(&listener), Place::Unix);
    follow(Place::Unix, accepted.into(), client.into());
    Ok(())
}

#[test]
fn more_connections_than_one_piece_of_an_answer_holds_are_all_found() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let pairs: Vec<_> = (0..600).map(|_| (connect(), listener.accept().unwrap().0)).collect();
    let held = held_at(place(&listener)).unwrap();
    for (_, accepted) in &pairs {
        assert!(held.contains(&inode(accepted.as_fd()).unwrap()));
    }
    assert_eq!(held.len(), pairs.len(), "the clients' ends are elsewhere");
}

#[test]
fn what_accepts_no_connections_has_no_place() {
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(Place::of(datagrams.as_fd()).unwrap(), None);
}
