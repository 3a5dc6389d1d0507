//! Sockets that listen: binding, listening, accepting. What a descriptor is and
//! where it is bound is told by [`local_address`], [`peer_ip`], [`socket_kind`] and
//! [`is_listening`].
//!
//! Binding and listening are apart because Node's protocol has them apart: the
//! primary binds, and who listens depends on the policy. Every socket made here
//! is `CLOEXEC` and nonblocking.

mod accept_queue;
mod describe;
mod held;
mod pair;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, socket_with, sockopt,
};

pub use accept_queue::{AcceptQueue, accept_queue};
pub use describe::{LocalAddress, SocketKind, is_listening, local_address, peer_ip, socket_kind};
pub use held::{Inode, Place, held_at, inode};
pub use pair::{PrivatePair, private_pair};

/// The longest path that fits `sun_path` together with its zero (`unix(7)`).
pub(crate) const MAX_UNIX_PATH_BYTES: usize = 107;

/// Whether an IPv6 socket leaves IPv4 alone (`IPV6_V6ONLY`). Without meaning for
/// an IPv4 address. Always set explicitly, because the default is the system's
/// (`net.ipv6.bindv6only`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnlyV6 {
    /// `::` serves IPv4 as well.
    No,
    /// IPv6 only; another socket may serve the port on IPv4.
    Yes,
}

/// Whether a UDP socket may share its address with others that say so too
/// (`SO_REUSEADDR`); the last one bound then gets the unicast datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReuseAddress {
    /// The address must be free.
    No,
    /// Others may have it.
    Yes,
}

/// Binds a TCP socket, which does not listen yet. Port 0 picks a free one. It has
/// `SO_REUSEADDR`, so that a port is free again right after a restart. On Linux
/// that lets two sockets *bind* to one port as long as neither listens; the
/// second then fails to [`listen`].
///
/// # Errors
///
/// Those of `bind(2)`: `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`.
pub fn bind_tcp(address: SocketAddr, only_v6: OnlyV6) -> io::Result<OwnedFd> {
    let socket = inet_socket(&address, SocketType::STREAM, only_v6)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    Ok(socket)
}

/// Binds a UDP socket. Port 0 picks a free one.
///
/// # Errors
///
/// Those of `bind(2)`: `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`.
pub fn bind_udp(
    address: SocketAddr,
    only_v6: OnlyV6,
    reuse_address: ReuseAddress,
) -> io::Result<OwnedFd> {
    let socket = inet_socket(&address, SocketType::DGRAM, only_v6)?;
    sockopt::set_socket_reuseaddr(&socket, reuse_address == ReuseAddress::Yes)?;
    bind(&socket, &address)?;
    Ok(socket)
}

/// Binds a Unix stream socket, which does not listen yet, and thereby creates the
/// file. Removing a file that a former process left, and this one at the end, is
/// for the caller.
///
/// # Errors
///
/// - `AddrInUse` if the file exists, whether or not anybody listens on it.
/// - `ENAMETOOLONG` for a path over 107 bytes. Linux would take one byte more and
///   leave out the zero at the end, which trips its readers (`unix(7)`, "BUGS").
/// - Those of creating a file.
pub fn bind_unix(path: &Path) -> io::Result<OwnedFd> {
    if path.as_os_str().len() > MAX_UNIX_PATH_BYTES {
        return Err(Errno::NAMETOOLONG.into());
    }
    bind_unix_to(&SocketAddrUnix::new(path)?)
}

/// Binds a Unix stream socket to a name in Linux's abstract namespace, given
/// without the leading zero byte. It does not listen yet; no file is made.
///
/// # Errors
///
/// `AddrInUse`, and `ENAMETOOLONG` for a name over 107 bytes.
pub fn bind_unix_abstract(name: &[u8]) -> io::Result<OwnedFd> {
    bind_unix_to(&SocketAddrUnix::new_abstract_name(name)?)
}

/// Starts listening, or changes the backlog of a socket that does. `backlog` is a
/// number of connections; the kernel caps it at `net.core.somaxconn`.
///
/// # Errors
///
/// `AddrInUse` if another socket has come to listen on the address.
pub fn listen(socket: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    rustix::net::listen(socket, i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(())
}

/// Accepts one connection, nonblocking and `CLOEXEC`.
///
/// # Errors
///
/// - `WouldBlock` when none waits (on a nonblocking listener).
/// - `ConnectionAborted` when the client gave up; the next one may be fine.
/// - `EMFILE`, `ENFILE` at the limit of open files: the connection stays in the
///   queue and the listener stays readable.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(retry_on_intr(|| accept_with(listener, flags))?)
}

/// Sets `O_NONBLOCK`. It belongs to the open file, so whoever shares the
/// descriptor sees it too.
///
/// # Errors
///
/// Those of `fcntl(2)`.
pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = fcntl_getfl(&fd)?;
    fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    Ok(())
}

/// Takes `O_NONBLOCK` away, as [`set_nonblocking`] sets it.
///
/// # Errors
///
/// Those of `fcntl(2)`.
pub fn set_blocking(fd: impl AsFd) -> io::Result<()> {
    let flags = fcntl_getfl(&fd)?;
    fcntl_setfl(&fd, flags - OFlags::NONBLOCK)?;
    Ok(())
}

/// A socket for that address, not bound yet.
pub(crate) fn inet_socket(
    address: &SocketAddr,
    kind: SocketType,
    only_v6: OnlyV6,
) -> io::Result<OwnedFd> {
    match address {
        SocketAddr::V4(_) => new_socket(AddressFamily::INET, kind),
        SocketAddr::V6(_) => {
            let socket = new_socket(AddressFamily::INET6, kind)?;
            sockopt::set_ipv6_v6only(&socket, only_v6 == OnlyV6::Yes)?;
            Ok(socket)
        }
    }
}

fn bind_unix_to(address: &SocketAddrUnix) -> io::Result<OwnedFd> {
    let socket = new_socket(AddressFamily::UNIX, SocketType::STREAM)?;
    bind(&socket, address)?;
    Ok(socket)
}

fn new_socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}
