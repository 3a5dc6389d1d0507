//! What a descriptor is and where it is bound, as the kernel tells it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketType, getpeername, getsockname, ipproto, sockopt,
};

/// Where a socket is bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LocalAddress {
    /// An IPv4 or IPv6 address and port.
    Inet(SocketAddr),
    /// A Unix socket, with its path as it was given to `bind`; `None` if it is
    /// not bound, as the ends of a socket pair.
    Unix(Option<PathBuf>),
    /// A Unix socket in the abstract namespace, its name without the leading
    /// zero byte.
    Abstract(Vec<u8>),
}

/// The kind of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketKind {
    /// TCP over IPv4 or IPv6, multipath TCP included.
    Tcp,
    /// UDP over IPv4 or IPv6.
    Udp,
    /// A Unix stream socket.
    UnixStream,
    /// A Unix datagram socket.
    UnixDatagram,
    /// Any other socket.
    Other,
}

/// Where `socket` is bound.
///
/// # Errors
///
/// - `ENOTSOCK` for what is no socket.
/// - `Unsupported` for a socket that is neither IPv4, IPv6 nor Unix.
pub fn local_address(socket: BorrowedFd<'_>) -> io::Result<LocalAddress> {
    match sockopt::socket_domain(socket)? {
        AddressFamily::UNIX => unix_address(socket),
        _ => inet_address(getsockname(socket)?).map(LocalAddress::Inet),
    }
}

/// The address at the other end of a connection; `None` if it is not one between IP addresses.
///
/// # Errors
///
/// `NotConnected` if the connection is gone already.
pub fn peer_ip(connection: BorrowedFd<'_>) -> io::Result<Option<IpAddr>> {
    let Some(peer) = getpeername(connection)? else { return Ok(None) };
    Ok(SocketAddr::try_from(peer).ok().map(|peer| peer.ip()))
}

/// The kind of `fd`, or `None` if it is no socket. Tells an inherited listener
/// from a stray descriptor.
///
/// # Errors
///
/// Those of `getsockopt(2)` beyond `ENOTSOCK`.
pub fn socket_kind(fd: BorrowedFd<'_>) -> io::Result<Option<SocketKind>> {
    let domain = match sockopt::socket_domain(fd) {
        Ok(domain) => domain,
        Err(Errno::NOTSOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let kind = match domain {
        AddressFamily::INET | AddressFamily::INET6 => inet_kind(fd)?,
        AddressFamily::UNIX => unix_kind(fd)?,
        _ => SocketKind::Other,
    };
    Ok(Some(kind))
}

/// Whether `socket` listens (`SO_ACCEPTCONN`).
///
/// # Errors
///
/// `ENOTSOCK` for what is no socket.
pub fn is_listening(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::socket_acceptconn(socket)?)
}

fn inet_address(address: SocketAddrAny) -> io::Result<SocketAddr> {
    let not_ours = |_| io::Error::new(io::ErrorKind::Unsupported, "not an address of IP or Unix");
    SocketAddr::try_from(address).map_err(not_ours)
}

/// Asks by way of the standard library. rustix 1.1.6 takes an unnamed socket for
/// an abstract one without a name, and panics on a path of 108 bytes, which
/// somebody else may have bound.
fn unix_address(socket: BorrowedFd<'_>) -> io::Result<LocalAddress> {
    let address = UnixStream::from(socket.try_clone_to_owned()?).local_addr()?;
    Ok(match address.as_abstract_name() {
        Some(name) => LocalAddress::Abstract(name.to_vec()),
        None => LocalAddress::Unix(address.as_pathname().map(PathBuf::from)),
    })
}

fn inet_kind(fd: BorrowedFd<'_>) -> io::Result<SocketKind> {
    Ok(match sockopt::socket_protocol(fd)? {
        Some(ipproto::TCP | ipproto::MPTCP) => SocketKind::Tcp,
        Some(ipproto::UDP) => SocketKind::Udp,
        _ => SocketKind::Other,
    })
}

fn unix_kind(fd: BorrowedFd<'_>) -> io::Result<SocketKind> {
    Ok(match sockopt::socket_type(fd)? {
        SocketType::STREAM => SocketKind::UnixStream,
        SocketType::DGRAM => SocketKind::UnixDatagram,
        _ => SocketKind::Other,
    })
}
