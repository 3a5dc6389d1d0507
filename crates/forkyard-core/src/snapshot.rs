//! All that the core knows, as something that can be written down and read by another
//! process: what a primary hands over when it is upgraded.
//!
//! Moments are told as nanoseconds before or after the snapshot, because no other process
//! knows what an [`Instant`] means. So the time that passes until it is read does not count:
//! every deadline moves by that much.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::dispatch::snapshot::DispatcherSnapshot;
use crate::event::RollReason;
use crate::supervise::snapshot::SupervisorSnapshot;

/// A [`Core`](crate::Core) at rest. What it consists of is the core's own business; it is part
/// of the format in which a primary is handed over, which has a version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    pub(crate) supervisor: SupervisorSnapshot,
    pub(crate) dispatcher: DispatcherSnapshot,
}

impl Snapshot {
    /// What the roll that is under way is for, if one is.
    #[must_use]
    pub fn rolling(&self) -> Option<RollReason> {
        self.supervisor.rolling()
    }
}

/// A moment, in nanoseconds from the snapshot on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Moment(i64);

impl Moment {
    pub(crate) fn of(at: Instant, now: Instant) -> Self {
        let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        Self(match at.checked_duration_since(now) {
            Some(ahead) => nanos(ahead),
            None => -nanos(now.duration_since(at)),
        })
    }

    /// A moment that cannot be told on this machine, which was started later, is now.
    pub(crate) fn at(self, now: Instant) -> Instant {
        let distance = Duration::from_nanos(self.0.unsigned_abs());
        let at = if self.0 < 0 { now.checked_sub(distance) } else { now.checked_add(distance) };
        at.unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_as_far_away_afterwards() {
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(1000));
        for distance in [0, 1, 5_000_000] {
            let distance = Duration::from_nanos(distance);
            assert_eq!(Moment::of(now + distance, now).at(later), later + distance);
            assert_eq!(Moment::of(now - distance, now).at(later), later - distance);
        }
    }
}
