//! A connection from this process to itself, of which one end goes to a worker as if a
//! client had made it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, getpeername, socketpair};

use super::{LocalAddress, OnlyV6, SocketKind, accept, bind_tcp, listen, local_address};

/// How long the system may take to connect this process to itself. It mostly takes no
/// time at all.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// How many strangers may be turned away before it is given up.
const STRANGERS: usize = 64;

/// The two ends of one connection, both nonblocking and `CLOEXEC`.
#[derive(Debug)]
pub struct PrivatePair {
    /// The end of whoever asks.
    pub client: OwnedFd,
    /// The end of whoever answers, as if accepted.
    pub server: OwnedFd,
}

/// Connects this process to itself by the kind of socket that a listener would accept: TCP
/// over the loopback interface, through a listener that is gone afterwards, or a Unix
/// socket pair.
///
/// It can wait for a second, though it rarely waits at all; call it where that may be.
///
/// # Errors
///
/// - `InvalidInput` for a kind that does not connect.
/// - `TimedOut` if the system did not connect it in that time, or strangers kept coming.
/// - Those of `socket(2)`, `bind(2)`, `connect(2)`: too many open files, or no loopback
///   interface.
pub fn private_pair(kind: SocketKind) -> io::Result<PrivatePair> {
    match kind {
        SocketKind::Tcp => tcp_pair(),
        SocketKind::UnixStream => unix_pair(),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a kind of stream socket")),
    }
}

fn unix_pair() -> io::Result<PrivatePair> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (client, server) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    Ok(PrivatePair { client, server })
}

fn tcp_pair() -> io::Result<PrivatePair> {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = bind_tcp(anywhere, OnlyV6::No)?;
    listen(listener.as_fd(), 16)?;
    let client = bind_tcp(anywhere, OnlyV6::No)?;
    match connect(&client, &inet_address(listener.as_fd())?) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let server = accept_from(listener.as_fd(), inet_address(client.as_fd())?)?;
    Ok(PrivatePair { client, server })
}

/// Accepts the connection of that client. Others on this machine may have found the port.
fn accept_from(listener: BorrowedFd<'_>, client: SocketAddr) -> io::Result<OwnedFd> {
    for _ in 0..STRANGERS {
        wait_for_one(listener)?;
        match accept(listener) {
            Ok(accepted) if comes_from(&accepted, client) => return Ok(accepted),
            Ok(_) => {}
            Err(error) if gave_up(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn wait_for_one(listener: BorrowedFd<'_>) -> io::Result<()> {
    let mut readable = [PollFd::new(&listener, PollFlags::IN)];
    match retry_on_intr(|| poll(&mut readable, Some(&PATIENCE)))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

/// One that has gone in the meantime has no peer, and does not come from there.
fn comes_from(accepted: &OwnedFd, client: SocketAddr) -> bool {
    let peer = getpeername(accepted).ok().flatten();
    peer.and_then(|peer| SocketAddr::try_from(peer).ok()) == Some(client)
}

fn gave_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted)
}

fn inet_address(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    match local_address(socket)? {
        LocalAddress::Inet(address) => Ok(address),
        _ => Err(Errno::AFNOSUPPORT.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_stranger_who_is_faster_is_turned_away() {
        let listener = bind_tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), OnlyV6::No).unwrap();
        listen(listener.as_fd(), 16).unwrap();
        let address = inet_address(listener.as_fd()).unwrap();
        let _strangers =
            [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
        let client = TcpStream::connect(address).unwrap();
        let client_address = client.local_addr().unwrap();
        let accepted = TcpStream::from(accept_from(listener.as_fd(), client_address).unwrap());
        assert_eq!(accepted.peer_addr().unwrap(), client_address);
    }

    #[test]
    fn strangers_alone_are_given_up_on() {
        let listener = bind_tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), OnlyV6::No).unwrap();
        listen(listener.as_fd(), 16).unwrap();
        let address = inet_address(listener.as_fd()).unwrap();
        let _stranger = TcpStream::connect(address).unwrap();
        let error = accept_from(listener.as_fd(), address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
