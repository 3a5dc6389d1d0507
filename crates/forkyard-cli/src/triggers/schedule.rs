//! Reloads at times of the day: a cron line says when.
//!
//! ```text
//!   Times ──Timetable::look(now)──▶ a turn, if one has come, and when the next is
//!                 ▲                                   │
//!                 └──────── Alarm: that time, or somebody has set the clock
//! ```
//!
//! The timetable has no clock of its own. What it makes of one that jumps is said at
//! [`Timetable::look`].

mod alarm;
mod time;
mod timetable;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use alarm::Alarm;
pub(crate) use time::{Schedule, ScheduleError, UnknownZone, Zone};
use timetable::Timetable;
pub(crate) use timetable::{Turn, Turnout};

/// When an app is reloaded by the clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScheduleRules {
    /// The times, each as cron writes them. With none nothing is reloaded by the clock.
    pub(crate) times: Vec<Schedule>,
    /// Where the clock hangs; `None` for the system's own time zone (`TZ`, `/etc/localtime`).
    pub(crate) zone: Option<Zone>,
}

impl ScheduleRules {
    /// The time zone that counts. A system that does not say has UTC.
    fn time_zone(&self) -> TimeZone {
        let named = self.zone.as_ref().map(Zone::time_zone);
        named.unwrap_or_else(|| TimeZone::try_system().unwrap_or(TimeZone::UTC))
    }
}

/// Waits for the times of an app. Dropping it forgets about them.
#[derive(Debug)]
pub(super) struct Scheduler {
    timetable: Timetable,
    alarm: Alarm,
}

impl Scheduler {
    /// Begins to wait. Needs a runtime at hand.
    ///
    /// # Errors
    ///
    /// If the system has no timer left.
    pub(super) fn start(rules: &ScheduleRules) -> std::io::Result<Self> {
        let timetable = Timetable::new(rules.times.clone(), rules.time_zone(), Timestamp::now());
        Ok(Self { timetable, alarm: Alarm::new()? })
    }

    /// When the next turn is, if there is any.
    pub(super) fn upcoming(&self) -> Option<(Zoned, &Schedule)> {
        self.timetable.upcoming()
    }

    /// The next turn, once it has come. May be dropped while it waits, and nothing is lost.
    pub(super) async fn next(&mut self) -> Turn {
        loop {
            if let Some(turn) = self.timetable.look(Timestamp::now()) {
                return turn;
            }
            match self.timetable.next() {
                Some(at) => self.alarm.rings(at).await,
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the real clock: two seconds in a row.
    #[tokio::test]
    async fn a_turn_comes_when_its_time_has_come() {
        let rules = ScheduleRules {
            times: vec!["* * * * * *".parse().unwrap()],
            zone: Some("UTC".parse().unwrap()),
        };
        let mut scheduler = Scheduler::start(&rules).unwrap();
        let turns = [scheduler.next().await, scheduler.next().await];
        assert!(turns[0].at < turns[1].at, "{turns:?}");
        assert!(turns[1].at.timestamp() <= Timestamp::now(), "{turns:?}");
    }

    #[test]
    fn a_zone_that_is_named_outranks_the_system_s() {
        let zone = Some("Asia/Kathmandu".parse().unwrap());
        let rules = ScheduleRules { times: Vec::new(), zone };
        assert_eq!(rules.time_zone().iana_name(), Some("Asia/Kathmandu"));
    }
}
