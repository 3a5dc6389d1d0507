//! Which accepted connections somebody still holds, told by the kernel (`sock_diag(7)`).
//!
//! A connection is known by its inode, which it keeps wherever its descriptors travel. Once the
//! last of these is closed it has none, though the kernel may yet be saying goodbye to the peer.
//! So the ones that are held are those whose inodes the kernel lists, whatever program they have
//! gone to.
//!
//! Messages are put together and taken apart by hand: there are two of each, of which one field
//! counts.

use std::collections::HashSet;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::fstat;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use super::{LocalAddress, SocketKind, local_address, socket_kind};

/// What a socket is known by as long as any descriptor of it is open, in whatever process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inode(pub u32);

/// Where the kernel looks for a listener's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// TCP connections to this port on sockets of IPv4.
    V4(u16),
    /// TCP connections to this port on sockets of IPv6, which may have come by IPv4.
    V6(u16),
    /// Unix sockets, all of them: they do not tell whose connections they are.
    Unix,
}

impl Place {
    /// Where the connections of this listener are; `None` if it has none.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn of(listener: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        let kind = socket_kind(listener)?;
        Ok(match local_address(listener)? {
            LocalAddress::Inet(address) if kind == Some(SocketKind::Tcp) => {
                Some(if address.is_ipv4() { Self::V4 } else { Self::V6 }(address.port()))
            }
            LocalAddress::Unix(_) | LocalAddress::Abstract(_)
                if kind == Some(SocketKind::UnixStream) =>
            {
                Some(Self::Unix)
            }
            _ => None,
        })
    }
}

/// The socket's inode.
///
/// # Errors
///
/// Those of `fstat(2)`.
pub fn inode(socket: BorrowedFd<'_>) -> io::Result<Inode> {
    // The kernel gives sockets numbers of 32 bits, and tells no others here.
    Ok(Inode(u32::try_from(fstat(socket)?.st_ino).unwrap_or_default()))
}

/// The connections at this place that a process holds. Takes a millisecond or more, as the
/// kernel walks through all of its connections. Whatever is opened meanwhile may be missing.
///
/// # Errors
///
/// - `EPROTONOSUPPORT`, `ENOENT` where the kernel, a container or a sandbox does not offer it.
/// - Those of `socket(2)`.
pub fn held_at(place: Place) -> io::Result<HashSet<Inode>> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    let question = question(place);
    retry_on_intr(|| send(&socket, &question, SendFlags::empty()))?;
    let mut found = HashSet::new();
    while collect(&socket, place, &mut found)? == Answer::GoesOn {}
    // No inode is that of a connection that nobody holds.
    found.remove(&Inode(0));
    Ok(found)
}

/// `struct nlmsghdr` of `netlink(7)`, in bytes.
const HEADER: usize = 16;
/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `SOCK_DIAG_BY_FAMILY` of `linux/sock_diag.h`.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
/// As much as the kernel puts into one piece of an answer.
const PIECE: usize = 32 * 1024;

/// The states of `net/tcp_states.h` in which a connection can be held, as bits: established,
/// both FIN waits, close wait, last ACK, closing. Not those in which nobody can hold it.
const STATES: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;

/// `AF_UNIX`, `AF_INET`, `AF_INET6` and `IPPROTO_TCP`.
const UNIX: u8 = 1;
const INET: u8 = 2;
const INET6: u8 = 10;
const TCP: u8 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    GoesOn,
    IsOver,
}

fn question(place: Place) -> Vec<u8> {
    let body = match place {
        Place::V4(port) => tcp_question(INET, port),
        Place::V6(port) => tcp_question(INET6, port),
        Place::Unix => unix_question(),
    };
    let length = u32::try_from(HEADER + body.len()).unwrap_or_default();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(BY_FAMILY.to_ne_bytes());
    message.extend(DUMP.to_ne_bytes());
    // Number and sender: there is one question, and the kernel knows who asks.
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// `struct inet_diag_req_v2` of `linux/inet_diag.h`. The port picks, all else is left open.
fn tcp_question(family: u8, port: u16) -> Vec<u8> {
    let mut body = vec![family, TCP, 0, 0];
    body.extend(STATES.to_ne_bytes());
    body.extend(port.to_be_bytes());
    body.resize(56, 0);
    body
}

/// `struct unix_diag_req` of `linux/unix_diag.h`.
fn unix_question() -> Vec<u8> {
    let mut body = vec![UNIX, 0, 0, 0];
    body.extend(STATES.to_ne_bytes());
    body.resize(24, 0);
    body
}

/// Reads one piece of the answer.
fn collect(socket: &OwnedFd, place: Place, found: &mut HashSet<Inode>) -> io::Result<Answer> {
    let mut piece = vec![0; PIECE];
    let (length, _) = retry_on_intr(|| recv(socket, &mut *piece, RecvFlags::empty()))?;
    let mut rest = &piece[..length];
    while let Some((kind, body, behind)) = split_message(rest) {
        match kind {
            DONE => return Ok(Answer::IsOver),
            ERROR => return Err(error_in(body)),
            BY_FAMILY => found.extend(inode_in(place, body)),
            _ => {}
        }
        rest = behind;
    }
    // A piece without anything in it is none that the kernel sends.
    if length == 0 { Err(Errno::PROTO.into()) } else { Ok(Answer::GoesOn) }
}

/// The first message's kind and body, and what is behind it.
fn split_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(number_at(bytes, 0)?).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    let behind = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body, behind))
}

/// `idiag_inode` of `struct inet_diag_msg`, or `udiag_ino` of `struct unix_diag_msg`.
fn inode_in(place: Place, body: &[u8]) -> Option<Inode> {
    let at = match place {
        Place::V4(_) | Place::V6(_) => 68,
        Place::Unix => 4,
    };
    number_at(body, at).map(Inode)
}

/// `struct nlmsgerr`: the negative number of an error.
fn error_in(body: &[u8]) -> io::Error {
    let number = body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    io::Error::from_raw_os_error(number.saturating_neg())
}

fn number_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_is_not_read() {
        let message = |length: u32| [&length.to_ne_bytes()[..], &[0; 12]].concat();
        assert!(split_message(&message(16)).is_some());
        for length in [0, 15, 17, u32::MAX] {
            assert_eq!(split_message(&message(length)), None, "{length}");
        }
        assert_eq!(split_message(&[1, 2, 3]), None);
        assert_eq!(inode_in(Place::V4(1), &[0; 71]), None);
    }
}
