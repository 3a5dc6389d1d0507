//! A destination that cannot be written for a while: a full disk, a journal that is not read.
//!
//! ```text
//!   none ──a write fails, told──▶ there ──a write a second later succeeds, told──▶ none
//!                                  └── what finds no room is counted
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long after a failure it is tried again.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// What has to be told about logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Nothing can be written there for now.
    Failed {
        /// The file, or the system's log.
        what: String,
        /// Why.
        why: String,
    },
    /// It can be written again.
    Works {
        /// The file, or the system's log.
        what: String,
        /// How many lines are missing.
        lost: u64,
    },
    /// A file could not be rotated, compressed or removed. Lines are written all the same.
    NotTidied {
        /// The file, or the folder.
        what: String,
        /// Why.
        why: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { what, why } => {
                write!(f, "failed to write to {what}: {why}; the app goes on, trying again")
            }
            Self::Works { what, lost: 0 } => write!(f, "{what} is written again, nothing is lost"),
            Self::Works { what, lost } => {
                write!(f, "{what} is written again, {lost} lines are lost")
            }
            Self::NotTidied { what, why } => {
                write!(f, "failed to tidy {what}: {why}; lines are written all the same")
            }
        }
    }
}

/// Where notices go. Must not block.
pub(crate) type Tell = Arc<dyn Fn(&Notice) + Send + Sync>;

/// Whether there is trouble with a destination.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    next_try: Option<Instant>,
    lost: u64,
}

impl Trouble {
    pub(super) fn is_there(&self) -> bool {
        self.next_try.is_some()
    }

    /// Whether it is time to try a write.
    pub(super) fn may_try(&self) -> bool {
        self.next_try.is_none_or(|time| Instant::now() >= time)
    }

    /// A write has failed. Returns whether that is news.
    pub(super) fn failed(&mut self) -> bool {
        self.next_try.replace(Instant::now() + RETRY).is_none()
    }

    /// Lines have found no room.
    pub(super) fn lose(&mut self, lines: u64) {
        self.lost += lines;
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// A write has succeeded. If that is news, returns how many lines were lost meanwhile.
    pub(super) fn over(&mut self) -> Option<u64> {
        self.next_try.take().map(|_| std::mem::take(&mut self.lost))
    }
}
