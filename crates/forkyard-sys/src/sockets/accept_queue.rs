//! How many connections wait at a listening socket for somebody to accept them.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// The connections that a listening TCP socket holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptQueue {
    /// How many are complete and wait to be accepted.
    pub waiting: u32,
    /// How many may, which is the backlog as the kernel has cut it. One more fits in.
    pub limit: u32,
}

/// `TCP_LISTEN` of the kernel's `include/net/tcp_states.h`.
const LISTEN: u8 = 10;

/// Looks at the queue of a listening TCP socket (`TCP_INFO`, whose fields mean something else
/// for one that listens: `tcp_get_info` in the kernel's `net/ipv4/tcp.c`).
///
/// # Errors
///
/// - `InvalidInput` for a socket that does not listen.
/// - `EOPNOTSUPP` for one that is not TCP, and `ENOTSOCK` for what is none.
pub fn accept_queue(listener: BorrowedFd<'_>) -> io::Result<AcceptQueue> {
    let info = tcp_info(listener)?;
    if info.tcpi_state != LISTEN {
        return Err(Errno::INVAL.into());
    }
    Ok(AcceptQueue { waiting: info.tcpi_unacked, limit: info.tcpi_sacked })
}

fn tcp_info(socket: BorrowedFd<'_>) -> io::Result<libc::tcp_info> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is what there is.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: numbers only, of which any bits are one; what the kernel has not written is zero.
    Ok(unsafe { info.assume_init() })
}
