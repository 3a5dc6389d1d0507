//! Descriptors that tokio's reactor watches.
//!
//! Registering one is unsafe since tokio 1.54, because the reactor keeps the number and
//! not the descriptor (tokio-rs/tokio#8587). For an [`OwnedFd`] it is always sound, so
//! that is what can be done here.

use std::io;
use std::ops::Deref;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that the reactor watches. It cannot be exchanged for another one.
#[derive(Debug)]
pub struct Watched(AsyncFd<OwnedFd>);

impl Watched {
    /// Has tokio's reactor watch a descriptor, which should be nonblocking.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O enabled.
    pub fn new(fd: OwnedFd, interest: Interest) -> io::Result<Self> {
        // SAFETY: an OwnedFd is open, stays so until it is dropped, and always gives the
        // same number. Nobody gets a `&mut` to it, so it is not replaced before then.
        let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
        Ok(Self(registered?))
    }
}

impl Deref for Watched {
    type Target = AsyncFd<OwnedFd>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
