//! The socket on which a worker says that it is ready: `NOTIFY_SOCKET` of
//! `sd_notify(3)`, here one socket a worker.
//!
//! It is an `AF_UNIX` datagram socket in the abstract namespace, under a name that
//! the kernel chooses (autobind, `unix(7)`), so that no file is left behind by
//! whoever is killed. Anybody on the machine can send to such a name; the kernel
//! attests who did (`SO_PASSCRED`), and the caller decides whom to believe.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with, sockopt,
};

use crate::sockets::{LocalAddress, local_address};

/// Room for a sender's credentials and as many descriptors as one message can carry
/// (`SCM_MAX_FD` of `include/net/scm.h`), so that what comes along does not hide the
/// message.
const CONTROL_BYTES: usize = 64 + 253 * size_of::<RawFd>();

/// A socket for the notifications of one worker.
#[derive(Debug)]
pub struct NotifySocket(OwnedFd);

/// Who sent a notification, as the kernel attests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The process, or 0 for one that this PID namespace does not see.
    pub pid: u32,
    /// The user it runs as.
    pub uid: u32,
}

/// What one [`receive`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A notification of so many bytes, at the start of the buffer.
    Notification {
        /// How many.
        bytes: usize,
        /// From whom.
        sender: Sender,
    },
    /// One that was longer than the buffer, or of which the kernel could not tell
    /// everything: dropped.
    Unusable,
}

impl NotifySocket {
    /// Makes the socket, nonblocking and `CLOEXEC`.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)` and `bind(2)`: too many open files, or no memory.
    pub fn bind() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        // Before it has a name, so that nothing arrives unattested.
        sockopt::set_socket_passcred(&socket, true)?;
        bind(&socket, &SocketAddrUnix::new_unnamed())?;
        Ok(Self(socket))
    }

    /// Its address as `NOTIFY_SOCKET` has it: `@` and the name.
    ///
    /// # Errors
    ///
    /// `InvalidData` for a descriptor that is no such socket, which one from
    /// [`NotifySocket::bind`] cannot be.
    pub fn address(&self) -> io::Result<String> {
        match local_address(self.0.as_fd())? {
            LocalAddress::Abstract(name) => named(name),
            _ => Err(nameless()),
        }
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<NotifySocket> for OwnedFd {
    fn from(socket: NotifySocket) -> Self {
        socket.0
    }
}

/// Takes one notification from a [`NotifySocket`] to the start of `buffer`, without
/// waiting. Descriptors that come along are closed: whoever sends `BARRIER=1` waits
/// for that (`sd_notify_barrier(3)`).
///
/// # Errors
///
/// `WouldBlock` when none is there.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = Control { bytes: [MaybeUninit::uninit(); CONTROL_BYTES] };
    let mut data = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeros is a valid msghdr: no name, no data, no control messages.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut data;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_BYTES;
    let bytes = retry_on_intr(|| {
        // SAFETY: the message points to the caller's buffer and to `control`, with
        // their lengths; both live until the end of this function.
        unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, FLAGS) }
    })?;
    // SAFETY: recvmsg has just filled it in, and `control` still lives.
    let sender = unsafe { take_control(&message) };
    let whole = message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) == 0;
    Ok(match sender {
        Some(sender) if whole => Received::Notification { bytes, sender },
        _ => Received::Unusable,
    })
}

const FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;

/// Where control messages are written, aligned as their headers need it.
#[repr(C, align(8))]
struct Control {
    bytes: [MaybeUninit<u8>; CONTROL_BYTES],
}

/// Finds the sender and closes the descriptors. Not by rustix, whose `UCred` holds a
/// process number that is not zero, which the one of a foreign PID namespace is.
///
/// # Safety
///
/// The message must have been filled in by `recvmsg`, its control messages must not
/// have been taken before, and their memory must still be there.
unsafe fn take_control(message: &libc::msghdr) -> Option<Sender> {
    let mut sender = None;
    // SAFETY: as the caller promises, `message` describes control messages in memory.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: not null, so a header within the control messages.
        let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
        match (level, kind) {
            // SAFETY: the header says that credentials follow.
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => sender = unsafe { credentials(header) },
            // SAFETY: the header says that descriptors follow.
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => unsafe { close_all(header) },
            _ => {}
        }
        // SAFETY: as for the first one.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    sender
}

/// # Safety
///
/// `header` must be one of type `SCM_CREDENTIALS` that the kernel wrote.
unsafe fn credentials(header: *const libc::cmsghdr) -> Option<Sender> {
    // SAFETY: the header is one the kernel wrote.
    if unsafe { payload_len(header) } < size_of::<libc::ucred>() {
        return None;
    }
    // SAFETY: as many bytes as a ucred has follow, of which any are valid.
    let found = unsafe { libc::CMSG_DATA(header).cast::<libc::ucred>().read_unaligned() };
    Some(Sender { pid: found.pid.unsigned_abs(), uid: found.uid })
}

/// # Safety
///
/// `header` must be one of type `SCM_RIGHTS` that the kernel wrote and that nobody has
/// taken the descriptors of.
unsafe fn close_all(header: *const libc::cmsghdr) {
    // SAFETY: the header is one the kernel wrote.
    let count = unsafe { payload_len(header) } / size_of::<RawFd>();
    for index in 0..count {
        // SAFETY: the payload has that many descriptors, each newly opened for us by
        // the kernel and owned by nobody yet.
        let fd = unsafe {
            let number = libc::CMSG_DATA(header).cast::<RawFd>().add(index).read_unaligned();
            OwnedFd::from_raw_fd(number)
        };
        drop(fd);
    }
}

/// # Safety
///
/// `header` must be one the kernel wrote.
unsafe fn payload_len(header: *const libc::cmsghdr) -> usize {
    // SAFETY: CMSG_LEN is plain arithmetic; the header can be read.
    let (whole, bare) = unsafe { ((*header).cmsg_len, libc::CMSG_LEN(0)) };
    whole.saturating_sub(bare as usize)
}

fn retry_on_intr(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        if let Ok(result) = usize::try_from(call()) {
            return Ok(result);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn named(name: Vec<u8>) -> io::Result<String> {
    // Five hexadecimal digits (`unix(7)`).
    let name = String::from_utf8(name).map_err(|_| nameless())?;
    Ok(format!("@{name}"))
}

fn nameless() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a socket with a name of the kernel's choice")
}
