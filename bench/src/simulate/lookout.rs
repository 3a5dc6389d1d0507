//! When the primary looks at the lanes: as its shell does, in virtual time.
//!
//! ```text
//!            something comes
//!   Dozing ──────────────────▶ Looking, again and again
//!     ▲      nothing for 100 ms     │
//!     └─────────────────────────────┘
//! ```

use std::time::Duration;

use forkyard_core::LaneView;

/// How long nothing has to come until it is not looked any more, as in the shell.
const QUIET: Duration = Duration::from_millis(100);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Lookout {
    every: Duration,
    state: State,
    /// For when the next look has been entered in the agenda.
    entered: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The next connection has it looked.
    Dozing,
    Looking {
        next: Duration,
        quiet_since: Duration,
        dealt: u64,
    },
}

/// What one look has seen of all lanes together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Glance {
    waiting: u64,
    dealt: u64,
}

impl Glance {
    pub(super) fn add(&mut self, LaneView { waiting, dealt }: LaneView) {
        self.waiting += u64::from(waiting);
        self.dealt += dealt;
    }
}

impl Lookout {
    /// Looks at once, and then so often.
    pub(super) fn new(every: Duration) -> Self {
        Self { every, state: State::from(Duration::ZERO), entered: None }
    }

    /// Other lanes are dealt to than before: it is looked at once.
    pub(super) fn lanes_changed(&mut self, now: Duration) {
        self.state = State::from(now);
    }

    /// A connection has come to a lane.
    pub(super) fn something_came(&mut self, now: Duration) {
        if matches!(self.state, State::Dozing) {
            self.state = State::from(now);
        }
    }

    pub(super) fn is_due(&self, now: Duration) -> bool {
        matches!(self.state, State::Looking { next, .. } if next <= now)
    }

    /// It has been looked, at all lanes.
    pub(super) fn looked(&mut self, now: Duration, Glance { waiting, dealt }: Glance) {
        let State::Looking { quiet_since, dealt: before, .. } = self.state else { return };
        let is_quiet = waiting == 0 && dealt == before;
        let quiet_since = if is_quiet { quiet_since } else { now };
        self.state = if now - quiet_since < QUIET {
            State::Looking { next: now + self.every, quiet_since, dealt }
        } else {
            State::Dozing
        };
    }

    /// When it is to be looked next, if that is another moment than was known.
    pub(super) fn new_alarm(&mut self) -> Option<Duration> {
        let State::Looking { next, .. } = self.state else { return None };
        (self.entered.replace(next) != Some(next)).then_some(next)
    }
}

impl State {
    fn from(next: Duration) -> Self {
        Self::Looking { next, quiet_since: next, dealt: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// What has been dealt when it is looked so many milliseconds after the beginning.
    fn look(lookout: &mut Lookout, at: u64, (waiting, dealt): (u64, u64)) {
        assert!(lookout.is_due(millis(at)), "after {at} ms");
        lookout.looked(millis(at), Glance { waiting, dealt });
        assert!(!lookout.is_due(millis(at)), "after {at} ms");
    }

    #[test]
    fn it_is_looked_until_nothing_has_come_for_a_while() {
        let mut lookout = Lookout::new(millis(50));
        look(&mut lookout, 0, (0, 0));
        assert_eq!(lookout.new_alarm(), Some(millis(50)));
        assert_eq!(lookout.new_alarm(), None);
        // Something has come and been taken.
        look(&mut lookout, 50, (0, 1));
        look(&mut lookout, 100, (0, 1));
        // Something waits.
        look(&mut lookout, 150, (1, 2));
        look(&mut lookout, 200, (0, 2));
        look(&mut lookout, 250, (0, 2));
        assert!(!lookout.is_due(millis(1000)));
        lookout.something_came(millis(1000));
        look(&mut lookout, 1000, (0, 3));
        look(&mut lookout, 1050, (0, 3));
    }

    #[test]
    fn it_is_looked_at_once_when_other_lanes_are_dealt_to() {
        let mut lookout = Lookout::new(millis(50));
        look(&mut lookout, 0, (0, 0));
        lookout.something_came(millis(10));
        assert!(!lookout.is_due(millis(10)));
        lookout.lanes_changed(millis(20));
        look(&mut lookout, 20, (0, 1));
        assert!(!lookout.is_due(millis(69)));
        look(&mut lookout, 70, (0, 1));
    }
}
