//! The channel between a primary and a worker: an `AF_UNIX` stream socket pair
//! over which bytes and descriptors (`SCM_RIGHTS`) travel.
//!
//! Framing belongs to whoever reads the bytes. What is promised here is the
//! kernel's: a descriptor arrives with the first byte it was sent with, never
//! earlier, and one read never returns the descriptors of two sends
//! (`unix(7)`, "Ancillary messages").

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType,
    recvmsg, sendmsg, shutdown, socketpair,
};

/// The most descriptors one message can carry: `SCM_MAX_FD` of
/// `include/net/scm.h`, also named in `unix(7)`.
const MAX_HANDLES_PER_MESSAGE: usize = 253;

/// What one [`receive`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes written to the start of the buffer; 0 is the end of the channel.
    pub bytes: usize,
    /// Descriptors appended to the caller's collection.
    pub handles: usize,
    /// Descriptors were sent that could not be received (`MSG_CTRUNC`), in
    /// practice because this process is at its limit of open files. They are
    /// lost; their bytes are not.
    pub truncated: bool,
}

impl Received {
    const END: Self = Self { bytes: 0, handles: 0, truncated: false };
}

/// Makes a channel: our end, which never blocks, and the worker's, which does
/// until the worker chooses otherwise (Node sets `O_NONBLOCK` itself). Both are
/// `CLOEXEC`; [`crate::process::spawn`] lifts that in the child.
///
/// # Errors
///
/// Those of `socketpair(2)`: too many open files, or no memory.
pub fn channel_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    crate::sockets::set_nonblocking(&ours)?;
    Ok((ours, theirs))
}

/// Ends a channel in both directions: the other side reads the end, and so does this one
/// once it has read what had arrived.
///
/// # Errors
///
/// Those of `shutdown(2)`.
pub fn end(channel: BorrowedFd<'_>) -> io::Result<()> {
    Ok(shutdown(channel, Shutdown::Both)?)
}

/// Sends `bytes`, and `handle` with the first of them, in one `sendmsg` that
/// never waits. Returns how many bytes were taken, which can be fewer than
/// given; the handle has gone if that is at least one.
///
/// # Errors
///
/// - `WouldBlock` when the channel's buffer is full; nothing was sent.
/// - `BrokenPipe` or `ConnectionReset` when the other end is closed (no
///   `SIGPIPE` is raised).
/// - `ETOOMANYREFS` when this user has more descriptors in flight than
///   `RLIMIT_NOFILE` allows (`unix(7)`).
/// - `InvalidInput` for a handle without bytes, which the kernel would drop.
pub fn send(
    channel: BorrowedFd<'_>,
    bytes: &[u8],
    handle: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    if bytes.is_empty() && handle.is_some() {
        return Err(invalid("a handle needs at least one byte to travel with"));
    }
    let carried = handle.as_slice();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !carried.is_empty() {
        let fits = control.push(SendAncillaryMessage::ScmRights(carried));
        debug_assert!(fits, "the space is made for one descriptor");
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let sent = retry_on_intr(|| sendmsg(channel, &[IoSlice::new(bytes)], &mut control, flags))?;
    Ok(sent)
}

/// Receives what is there in one `recvmsg` that never waits: bytes to the start
/// of `buffer`, descriptors (all `CLOEXEC`) in the order of their sending to
/// `handles`, a `Vec` or `VecDeque`.
///
/// The end of the channel is `Ok` with 0 bytes. A reset is reported as the end
/// too: the kernel answers `ECONNRESET` instead of end-of-file when the peer
/// closed or was killed with data unread, after handing out all the peer had
/// sent (`unix_release_sock` in `net/unix/af_unix.c`). For the reader both mean
/// that nothing more will come.
///
/// # Errors
///
/// - `WouldBlock` when nothing is there.
/// - `InvalidInput` for an empty buffer, whose answer would look like the end.
pub fn receive(
    channel: BorrowedFd<'_>,
    buffer: &mut [u8],
    handles: &mut impl Extend<OwnedFd>,
) -> io::Result<Received> {
    if buffer.is_empty() {
        return Err(invalid("an empty buffer cannot tell data from the end"));
    }
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_HANDLES_PER_MESSAGE))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received =
        retry_on_intr(|| recvmsg(channel, &mut [IoSliceMut::new(buffer)], &mut control, flags));
    let message = match received {
        Ok(message) => message,
        Err(Errno::CONNRESET) => return Ok(Received::END),
        Err(error) => return Err(error.into()),
    };
    Ok(Received {
        bytes: message.bytes,
        handles: take_handles(&mut control, handles),
        truncated: message.flags.contains(ReturnFlags::CTRUNC),
    })
}

/// Moves the received descriptors to `handles` and counts them.
fn take_handles(
    control: &mut RecvAncillaryBuffer<'_>,
    handles: &mut impl Extend<OwnedFd>,
) -> usize {
    let mut count = 0;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            handles.extend(received.inspect(|_| count += 1));
        }
    }
    count
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
