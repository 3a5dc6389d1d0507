//! The limits of open files.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one. Returns the former soft
/// limit, a number of descriptors, for children to get back
/// ([`super::Spawn::nofile_soft`]): programs that use `select(2)`, or close every
/// possible descriptor at start, suffer from a high one. `None` if there was
/// nothing to raise.
///
/// # Errors
///
/// Those of `setrlimit(2)`.
pub fn raise_nofile_limit() -> io::Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    let Some(former) = limit.current.filter(|_| limit.current != limit.maximum) else {
        return Ok(None);
    };
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(Some(former))
}

/// The present limit with another soft one, at most the hard limit.
pub(super) fn nofile_limit_with_soft(soft: u64) -> Rlimit {
    let limit = getrlimit(Resource::Nofile);
    let capped = limit.maximum.map_or(soft, |hard| soft.min(hard));
    Rlimit { current: Some(capped), ..limit }
}

/// How many files a process may have open (`RLIMIT_NOFILE` in `getrlimit(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// The limit in force.
    pub soft: u64,
    /// How far the process may raise that itself.
    pub hard: u64,
}

impl OpenFiles {
    pub(super) fn rlimit(self) -> Rlimit {
        Rlimit { current: Some(self.soft), maximum: Some(self.hard) }
    }
}
