//! The socket on which a worker says that it is ready: `NOTIFY_SOCKET` of
//! `sd_notify(3)`, here one socket a worker.
//!
//! It is an `AF_UNIX` datagram socket at a path, because some programs know no others, or in
//! the abstract namespace, under a name that the kernel chooses (autobind, `unix(7)`). Whoever
//! can reach it can send to it; the kernel attests who did (`SO_PASSCRED`), and the caller
//! decides whom to believe.
//!
//! A file is removed together with its socket. One that was left by whoever was killed is
//! known by nobody listening there ([`sweep`]).

use std::fs::{self, Permissions};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with, sockopt,
};

use crate::sockets::{LocalAddress, MAX_UNIX_PATH_BYTES, local_address};

/// Anybody who can reach the file may send; who did is attested.
const FILE_MODE: u32 = 0o666;

/// Room for a sender's credentials and as many descriptors as one message can carry
/// (`SCM_MAX_FD` of `include/net/scm.h`), so that what comes along does not hide the
/// message.
const CONTROL_BYTES: usize = 64 + 253 * size_of::<RawFd>();

/// A socket for the notifications of one worker.
#[derive(Debug)]
pub struct NotifySocket {
    socket: OwnedFd,
    file: NotifyFile,
}

/// The file that leads to a notification socket, if one does. Removed when this is dropped.
#[derive(Debug, Default)]
pub struct NotifyFile(Option<PathBuf>);

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
    /// Makes a socket at this path, nonblocking and `CLOEXEC`. What a socket that is gone has
    /// left there is removed. Everybody may send to it who can get at the folder.
    ///
    /// # Errors
    ///
    /// - `AddrInUse` if there is a file already, and somebody listens there or it is no socket.
    /// - `ENAMETOOLONG` for a path over 107 bytes.
    /// - Those of creating a file, and of `socket(2)`.
    pub fn bind(path: &Path) -> io::Result<Self> {
        // One byte more would fit, without the zero at its end; see `bind_unix`.
        if path.as_os_str().len() > MAX_UNIX_PATH_BYTES {
            return Err(Errno::NAMETOOLONG.into());
        }
        let address = SocketAddrUnix::new(path)?;
        let socket = unnamed()?;
        match bind(&socket, &address) {
            Err(Errno::ADDRINUSE) if is_left_over(path) => {
                fs::remove_file(path)?;
                bind(&socket, &address)?;
            }
            bound => bound?,
        }
        let file = NotifyFile(Some(path.to_owned()));
        fs::set_permissions(path, Permissions::from_mode(FILE_MODE))?;
        Ok(Self { socket, file })
    }

    /// Makes a socket without a file, nonblocking and `CLOEXEC`.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)` and `bind(2)`: too many open files, or no memory.
    pub fn bind_abstract() -> io::Result<Self> {
        let socket = unnamed()?;
        bind(&socket, &SocketAddrUnix::new_unnamed())?;
        Ok(Self { socket, file: NotifyFile::default() })
    }

    /// Its address as `NOTIFY_SOCKET` has it: its path, or `@` and its name.
    ///
    /// # Errors
    ///
    /// `InvalidData` for a path that is no text.
    pub fn address(&self) -> io::Result<String> {
        match local_address(self.socket.as_fd())? {
            LocalAddress::Abstract(name) => named(name),
            LocalAddress::Unix(Some(path)) => {
                path.into_os_string().into_string().map_err(|_| nameless())
            }
            _ => Err(nameless()),
        }
    }

    /// The descriptor, and the file that is to go with it.
    #[must_use]
    pub fn into_parts(self) -> (OwnedFd, NotifyFile) {
        (self.socket, self.file)
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl NotifyFile {
    /// The file of a socket that another image of this program has bound.
    #[must_use]
    pub fn of(socket: BorrowedFd<'_>) -> Self {
        match local_address(socket) {
            Ok(LocalAddress::Unix(path)) => Self(path),
            _ => Self(None),
        }
    }
}

impl Drop for NotifyFile {
    fn drop(&mut self) {
        // Somebody may have cleaned up.
        let _ = self.0.take().map(fs::remove_file);
    }
}

/// Removes from a folder the files of sockets that are gone, those whose names begin like this.
///
/// # Errors
///
/// Those of reading the folder.
pub fn sweep(dir: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let is_meant = entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes());
        if is_meant && is_left_over(&entry.path()) {
            // Another primary may do the same.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Whether there is a datagram socket's file, and the socket is gone.
fn is_left_over(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let connected = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
    is_socket && connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn unnamed() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    // Before it has a name, so that nothing arrives unattested.
    sockopt::set_socket_passcred(&socket, true)?;
    Ok(socket)
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
    io::Error::new(io::ErrorKind::InvalidData, "a socket whose name is no text")
}
