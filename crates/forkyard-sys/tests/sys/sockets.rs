//! Binding, listening, accepting, and what descriptors are told to be.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;

use forkyard_sys::sockets::{
    LocalAddress, OnlyV6, ReuseAddress, SocketKind, accept, bind_tcp, bind_udp, bind_unix,
    bind_unix_abstract, is_listening, listen, local_address, private_pair, socket_kind,
};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};

use crate::waiting;

const ANY_V4: (Ipv4Addr, u16) = (Ipv4Addr::UNSPECIFIED, 0);
const ANY_V6: (Ipv6Addr, u16) = (Ipv6Addr::UNSPECIFIED, 0);
const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

fn address_of(socket: &OwnedFd) -> SocketAddr {
    match local_address(socket.as_fd()).unwrap() {
        LocalAddress::Inet(address) => address,
        other => unreachable!("bound to {other:?}"),
    }
}

fn assert_nonblocking_and_close_on_exec(fd: &OwnedFd) {
    assert!(fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK));
    assert!(fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
}

fn listener(address: impl Into<SocketAddr>, only_v6: OnlyV6) -> OwnedFd {
    let socket = bind_tcp(address.into(), only_v6).unwrap();
    listen(socket.as_fd(), u32::MAX).unwrap();
    socket
}

#[test]
fn a_bound_socket_has_a_port_and_listens_when_told() {
    let socket = bind_tcp(LOCAL.into(), OnlyV6::No).unwrap();
    assert_nonblocking_and_close_on_exec(&socket);
    assert_ne!(address_of(&socket).port(), 0);
    assert!(!is_listening(socket.as_fd()).unwrap());
    listen(socket.as_fd(), 16).unwrap();
    assert!(is_listening(socket.as_fd()).unwrap());
}

#[test]
fn a_connection_is_accepted_once() {
    let socket = listener(LOCAL, OnlyV6::No);
    let none = accept(socket.as_fd()).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::WouldBlock);

    let client = TcpStream::connect(address_of(&socket)).unwrap();
    waiting::until_readable(&socket);
    let accepted = accept(socket.as_fd()).unwrap();
    assert_nonblocking_and_close_on_exec(&accepted);
    let peer = TcpStream::from(accepted).peer_addr().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    assert_eq!(accept(socket.as_fd()).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_port_somebody_listens_on_is_in_use() {
    let first = listener(LOCAL, OnlyV6::No);
    let error = bind_tcp(address_of(&first), OnlyV6::No).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn of_two_bound_to_a_port_the_second_cannot_listen() {
    let first = bind_tcp(LOCAL.into(), OnlyV6::No).unwrap();
    let second = bind_tcp(address_of(&first), OnlyV6::No).unwrap();
    listen(first.as_fd(), 1).unwrap();
    let error = listen(second.as_fd(), 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_foreign_address_is_not_available() {
    let documentation = SocketAddr::from(([192, 0, 2, 1], 0));
    let error = bind_tcp(documentation, OnlyV6::No).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
}

#[test]
fn a_dual_stack_socket_serves_ipv4() {
    let socket = listener(ANY_V6, OnlyV6::No);
    let port = address_of(&socket).port();
    let _client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    waiting::until_readable(&socket);
    accept(socket.as_fd()).unwrap();
    let error = bind_tcp(SocketAddr::from((ANY_V4.0, port)), OnlyV6::No).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn an_ipv6_only_socket_leaves_ipv4_to_another() {
    // Held by a v4 socket, the port is nobody else's when the v6 one asks for it.
    let v4 = listener(LOCAL, OnlyV6::Yes);
    let port = address_of(&v4).port();
    let v6 = bind_tcp(SocketAddr::from((ANY_V6.0, port)), OnlyV6::Yes).unwrap();
    listen(v6.as_fd(), 1).unwrap();
    let _client = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
    waiting::until_readable(&v6);
    accept(v6.as_fd()).unwrap();
}

#[test]
fn a_udp_address_is_shared_only_if_both_say_so() {
    let alone = bind_udp(LOCAL.into(), OnlyV6::No, ReuseAddress::No).unwrap();
    assert_nonblocking_and_close_on_exec(&alone);
    let error = bind_udp(address_of(&alone), OnlyV6::No, ReuseAddress::Yes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);

    let shared = bind_udp(LOCAL.into(), OnlyV6::No, ReuseAddress::Yes).unwrap();
    bind_udp(address_of(&shared), OnlyV6::No, ReuseAddress::Yes).unwrap();
}

#[test]
fn a_unix_socket_is_bound_to_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let socket = bind_unix(&path).unwrap();
    assert_nonblocking_and_close_on_exec(&socket);
    listen(socket.as_fd(), 1).unwrap();
    assert_eq!(local_address(socket.as_fd()).unwrap(), LocalAddress::Unix(Some(path.clone())));

    let _client = UnixStream::connect(&path).unwrap();
    let accepted = accept(socket.as_fd()).unwrap();
    assert_eq!(local_address(accepted.as_fd()).unwrap(), LocalAddress::Unix(Some(path.clone())));

    drop(socket);
    let error = bind_unix(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse, "the file is still there");
}

#[test]
fn a_path_that_does_not_fit_is_an_error() {
    let error = bind_unix(Path::new(&"x".repeat(108))).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
}

#[test]
fn the_longest_path_somebody_else_can_bind_is_told() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let room = 107 - folder.path().as_os_str().len();
    let path = folder.path().join("x".repeat(room));
    let address = rustix::net::SocketAddrUnix::new(&path).unwrap();
    let family = rustix::net::AddressFamily::UNIX;
    let socket = rustix::net::socket(family, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    assert_eq!(path.as_os_str().len(), 108);
    assert_eq!(local_address(socket.as_fd()).unwrap(), LocalAddress::Unix(Some(path)));
}

#[test]
fn an_abstract_name_is_told_without_its_zero() {
    let name = format!("forkyard-sys-test-{}", std::process::id());
    let socket = bind_unix_abstract(name.as_bytes()).unwrap();
    let address = local_address(socket.as_fd()).unwrap();
    assert_eq!(address, LocalAddress::Abstract(name.clone().into_bytes()));
    let error = bind_unix_abstract(name.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_socket_pair_is_bound_to_nothing() {
    let (one, _other) = UnixStream::pair().unwrap();
    assert_eq!(local_address(one.as_fd()).unwrap(), LocalAddress::Unix(None));
}

#[test]
fn kinds_are_told_apart() {
    let kind = |fd: &dyn AsFd| socket_kind(fd.as_fd()).unwrap();
    let tcp_v6 = bind_tcp(ANY_V6.into(), OnlyV6::Yes).unwrap();
    let udp = bind_udp(LOCAL.into(), OnlyV6::No, ReuseAddress::No).unwrap();
    let (pipe, _writer) = std::io::pipe().unwrap();
    assert_eq!(kind(&bind_tcp(LOCAL.into(), OnlyV6::No).unwrap()), Some(SocketKind::Tcp));
    assert_eq!(kind(&tcp_v6), Some(SocketKind::Tcp));
    assert_eq!(kind(&udp), Some(SocketKind::Udp));
    assert_eq!(kind(&UnixStream::pair().unwrap().0), Some(SocketKind::UnixStream));
    assert_eq!(kind(&UnixDatagram::unbound().unwrap()), Some(SocketKind::UnixDatagram));
    assert_eq!(kind(&pipe), None);
    assert_eq!(kind(&tempfile::tempfile().unwrap()), None);
}

#[test]
fn what_is_no_socket_has_no_address() {
    let file = tempfile::tempfile().unwrap();
    let address = local_address(file.as_fd()).unwrap_err();
    assert_eq!(address.raw_os_error(), Some(libc::ENOTSOCK));
    assert!(is_listening(file.as_fd()).is_err());
}

#[test]
fn a_private_pair_is_connected_to_itself_and_nobody_else() {
    for kind in [SocketKind::Tcp, SocketKind::UnixStream] {
        let pair = private_pair(kind).unwrap();
        for end in [&pair.client, &pair.server] {
            assert_nonblocking_and_close_on_exec(end);
            assert_eq!(socket_kind(end.as_fd()).unwrap(), Some(kind));
        }
        // What kind it is does not matter to read(2) and write(2).
        let (mut client, mut server) =
            (UnixStream::from(pair.client), UnixStream::from(pair.server));
        client.write_all(b"ask").unwrap();
        waiting::until_readable(&server);
        let mut asked = [0; 3];
        server.read_exact(&mut asked).unwrap();
        assert_eq!(&asked, b"ask");
        drop(server);
        waiting::until_readable(&client);
        assert_eq!(client.read(&mut asked).unwrap(), 0);
    }
}

#[test]
fn a_private_pair_leaves_no_port_behind() {
    let pair = private_pair(SocketKind::Tcp).unwrap();
    let error = TcpStream::connect(address_of(&pair.server)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn what_does_not_connect_has_no_private_pair() {
    for kind in [SocketKind::Udp, SocketKind::UnixDatagram, SocketKind::Other] {
        assert_eq!(private_pair(kind).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
