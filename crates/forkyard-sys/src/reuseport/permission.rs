//! Whether this process may have connections dealt out by a program, and if not, why.

use std::error::Error;
use std::fmt;
use std::io;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{CapabilitySet, capabilities};

use super::group::{Dealer, give_away};
use super::{Dealing, Heir};

/// Why connections cannot be dealt out by a program in the kernel.
#[derive(Debug)]
pub enum NotPermitted {
    /// The process lacks this capability (`capabilities(7)`).
    Capability(&'static str),
    /// It has what it needs, and is refused all the same: by a sandbox, or by the kernel's
    /// lockdown.
    Sandbox,
    /// The kernel has no such programs, or not yet; Linux 5.14 has.
    Kernel,
    /// The system failed otherwise: no memory, too many open files.
    System(io::Error),
}

impl NotPermitted {
    /// From what the system said when the program was being set up.
    pub(super) fn setting_up(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM) => lacking("CAP_BPF", CapabilitySet::BPF | CapabilitySet::SYS_ADMIN),
            Some(libc::EINVAL | libc::ENOSYS) => Self::Kernel,
            _ => Self::System(error),
        }
    }

    /// From what it said when a socket was given to another user.
    pub(super) fn giving_away(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM) => lacking("CAP_CHOWN", CapabilitySet::CHOWN),
            _ => Self::System(error),
        }
    }
}

impl fmt::Display for NotPermitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capability(name) => write!(f, "this process lacks {name}"),
            Self::Sandbox => f.write_str("a sandbox or the kernel's lockdown forbids it"),
            Self::Kernel => f.write_str("the kernel cannot do it; Linux 5.14 or later can"),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl Error for NotPermitted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::System(error) => error.source(),
            _ => None,
        }
    }
}

/// Of the same kind as what the system said, with the reason as its inner error.
impl From<NotPermitted> for io::Error {
    fn from(reason: NotPermitted) -> Self {
        match reason {
            NotPermitted::System(error) => error,
            NotPermitted::Kernel => Self::new(io::ErrorKind::Unsupported, reason),
            _ => Self::new(io::ErrorKind::PermissionDenied, reason),
        }
    }
}

/// Tries it: loads the program, and gives a socket away. Takes about a millisecond and
/// leaves nothing behind.
///
/// # Errors
///
/// The reason.
pub fn permitted() -> Result<(), NotPermitted> {
    Dealer::new(Dealing::InTurn, Heir::List)?;
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
        .map_err(|error| NotPermitted::System(error.into()))?;
    give_away(&socket)
}

/// The calling thread was refused something that any of these capabilities allows.
fn lacking(name: &'static str, any_of: CapabilitySet) -> NotPermitted {
    let has = capabilities(None).is_ok_and(|sets| sets.effective.intersects(any_of));
    if has { NotPermitted::Sandbox } else { NotPermitted::Capability(name) }
}
