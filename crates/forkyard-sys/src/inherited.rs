//! Descriptors this process was started with.
//!
//! A number becomes an owned descriptor in three ways only: [`take_channel`] for
//! the one announced in the environment, [`take_one`] for what a former program of
//! this process left by number, and [`InheritedFds::take`] for the rest. All
//! accept only what lacks `CLOEXEC`: a descriptor that came through an exec
//! cannot have it, and what Rust code opens does. A table of the numbers taken
//! sees to it that none is owned twice. If a process does several, the rest goes
//! last.
//!
//! The rest is never closed: the next program of this process may want it, also one
//! that is executed when everybody here has let go of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};

use crate::sockets::{SocketKind, set_nonblocking, socket_kind};

/// The first number that is not stdin, stdout or stderr.
const FIRST: RawFd = 3;

/// The numbers that have been given out in this process.
///
/// A number stays taken when its descriptor is closed, so what is opened under it later is
/// never mistaken for an inherited one.
static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// What [`InheritedFds::take`] has found.
static REST: OnceLock<BTreeMap<RawFd, OwnedFd>> = OnceLock::new();

/// What there is where nothing was inherited.
static NOTHING: BTreeMap<RawFd, OwnedFd> = BTreeMap::new();

/// The descriptors from 3 on that whoever started this process passed in: the
/// listening sockets of systemd or another primary. They stay open when this is dropped.
#[derive(Debug)]
pub struct InheritedFds {
    fds: &'static BTreeMap<RawFd, OwnedFd>,
}

impl InheritedFds {
    /// Finds and owns them, and sets `CLOEXEC` so that they go no further. To be
    /// called first thing in `main`, before a library that is not Rust could open
    /// descriptors of its own without `CLOEXEC`.
    ///
    /// # Errors
    ///
    /// - Those of reading `/proc/self/fd`.
    /// - `AlreadyExists` on the second call.
    pub fn take() -> io::Result<Self> {
        let mut taken = taken();
        if REST.get().is_some() {
            return Err(already("the inherited descriptors have been taken"));
        }
        let mut fds = BTreeMap::new();
        for number in open_numbers()? {
            if !taken.contains(&number)
                && let Some(fd) = claim(number)?
            {
                taken.insert(number);
                fds.insert(number, fd);
            }
        }
        Ok(Self { fds: REST.get_or_init(|| fds) })
    }

    /// What [`take`](Self::take) has found in this process; none if it has not been called.
    #[must_use]
    pub fn taken() -> Self {
        Self { fds: REST.get().unwrap_or(&NOTHING) }
    }

    /// No descriptors, for a process that is not to use any.
    #[must_use]
    pub const fn none() -> Self {
        Self { fds: &NOTHING }
    }

    /// The descriptor passed in under that number.
    #[must_use]
    pub fn get(&self, number: RawFd) -> Option<BorrowedFd<'_>> {
        self.fds.get(&number).map(AsFd::as_fd)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.fds.values().map(AsFd::as_fd)
    }

    /// The numbers passed in, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.fds.keys().copied()
    }
}

/// Owns the channel announced by number in the environment (`NODE_CHANNEL_FD`),
/// and makes it `CLOEXEC` and nonblocking.
///
/// # Errors
///
/// - `EBADF` if nothing is open under that number.
/// - `InvalidInput` if it is not a Unix stream socket, or has `CLOEXEC` and so
///   was not inherited.
/// - `AlreadyExists` if that number has been taken before.
pub fn take_channel(number: RawFd) -> io::Result<OwnedFd> {
    let mut taken = taken();
    if taken.contains(&number) {
        return Err(already("that descriptor has been taken"));
    }
    if number < FIRST {
        return Err(not_a_channel());
    }
    // Looked at before it is claimed, so that it is not closed if it is no channel.
    if look(number, socket_kind)? != Some(SocketKind::UnixStream) {
        return Err(not_a_channel());
    }
    let channel = claim(number)?.ok_or_else(not_a_channel)?;
    taken.insert(number);
    set_nonblocking(&channel)?;
    Ok(channel)
}

/// Owns one descriptor that came through an exec, whatever it is, and makes it `CLOEXEC`.
///
/// # Errors
///
/// - `EBADF` if nothing is open under that number, or what is has `CLOEXEC` and so was not
///   inherited.
/// - `AlreadyExists` if that number has been taken before.
pub fn take_one(number: RawFd) -> io::Result<OwnedFd> {
    let mut taken = taken();
    if taken.contains(&number) {
        return Err(already("that descriptor has been taken"));
    }
    if number < FIRST {
        return Err(Errno::BADF.into());
    }
    let fd = claim(number)?.ok_or(Errno::BADF)?;
    taken.insert(number);
    Ok(fd)
}

/// The open numbers from [`FIRST`] on. Includes the one used to list them, which
/// is closed again when this returns.
fn open_numbers() -> io::Result<Vec<RawFd>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse::<RawFd>().ok());
        numbers.extend(number.filter(|number| *number >= FIRST));
    }
    Ok(numbers)
}

/// Owns the descriptor and sets `CLOEXEC`, or `None` if it is not open or not
/// inherited.
fn claim(number: RawFd) -> io::Result<Option<OwnedFd>> {
    let flags = match look(number, |fd| Ok(fcntl_getfd(fd)?)) {
        Ok(flags) => flags,
        Err(error) if error.raw_os_error() == Some(Errno::BADF.raw_os_error()) => return Ok(None),
        Err(error) => return Err(error),
    };
    if flags.contains(FdFlags::CLOEXEC) {
        return Ok(None);
    }
    look(number, |fd| Ok(fcntl_setfd(fd, FdFlags::CLOEXEC)?))?;
    // SAFETY: it is open and was inherited, as the lack of CLOEXEC shows, so no
    // code of this process has opened it and owns it. All callers hold the table
    // of taken numbers, have looked this one up and enter it.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(number) }))
}

/// Asks the kernel about a number that may not be open.
fn look<T>(number: RawFd, ask: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
    // SAFETY: not -1, as callers pass numbers from FIRST on. Used for this one
    // question only, to which EBADF is an answer if it is not open.
    ask(unsafe { BorrowedFd::borrow_raw(number) })
}

fn taken() -> MutexGuard<'static, BTreeSet<RawFd>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn already(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, what)
}

fn not_a_channel() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not an inherited Unix stream socket")
}
