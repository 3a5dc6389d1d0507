//! Signals to this process, read from a descriptor (`signalfd(2)`).
//!
//! A signal that is read this way is blocked: it waits in the kernel until it is read, also
//! while the process executes another program. Nothing can arrive at the wrong moment.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::retry_on_intr;

use crate::process::Signal;

/// Blocks these signals in the calling thread and in all that it will start, and returns
/// where to read them ([`next`]): a nonblocking descriptor that polls readable when one has
/// arrived. To be called first thing in `main`: a thread that has been started already would
/// go on taking them.
///
/// # Errors
///
/// Those of `signalfd(2)`.
pub fn take(signals: &[Signal]) -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initializes the set, sigaddset changes it; the numbers are signals'.
    let set = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal.number());
        }
        set.assume_init()
    };
    // SAFETY: reads a valid set, writes nothing.
    let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    // SAFETY: the set is valid; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The next signal that has arrived.
///
/// # Errors
///
/// `WouldBlock` when none has.
pub fn next(signals: impl AsFd) -> io::Result<Signal> {
    let mut bytes = [0; size_of::<libc::signalfd_siginfo>()];
    retry_on_intr(|| rustix::io::read(&signals, &mut bytes))?;
    // `ssi_signo` comes first (signalfd(2)).
    let number = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let signal = i32::try_from(number).ok().and_then(Signal::from_number);
    signal.ok_or_else(|| io::Error::other(format!("no signal has the number {number}")))
}
