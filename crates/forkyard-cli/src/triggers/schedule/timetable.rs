//! Whose turn it is. Knows what has been, so that nothing comes twice because the clock was
//! set, and nothing comes in heaps after a long sleep.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

use super::Schedule;

/// By how much a clock that is set differs at most from one that was right. What is off by more
/// was wrong, and what it said is not counted. As long as cron's own patience, which has it for
/// the hour of a daylight saving time that others keep by setting the clock.
const PATIENCE: SignedDuration = SignedDuration::from_hours(3);

/// A time that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Which time it was.
    pub(crate) at: Zoned,
    /// The line that has it.
    pub(crate) schedule: Schedule,
    /// Whether it counts.
    pub(crate) turnout: Turnout,
}

/// Whether a time that has come counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turnout {
    /// It is time.
    Due,
    /// It was time, too long ago.
    TooLate,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Timetable {
    times: Vec<Schedule>,
    zone: TimeZone,
    /// The last one that has been.
    last: Option<Timestamp>,
    /// What the clock said when it was looked at last.
    seen: Timestamp,
    /// The next one, and which of `times` has it.
    next: Option<(Zoned, usize)>,
}

impl Timetable {
    pub(super) fn new(times: Vec<Schedule>, zone: TimeZone, now: Timestamp) -> Self {
        let mut timetable = Self { times, zone, last: None, seen: now, next: None };
        timetable.plan(now);
        timetable
    }

    /// When to look again, if ever.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.next.as_ref().map(|(at, _)| at.timestamp())
    }

    pub(super) fn upcoming(&self) -> Option<(Zoned, &Schedule)> {
        self.next.as_ref().map(|(at, index)| (at.clone(), &self.times[*index]))
    }

    /// The turn that has come by now, if one has.
    ///
    /// A clock that has gone forward, because it was set or the machine slept, gives one turn for
    /// all that it has skipped, and none that counts if the first of these is longer ago than
    /// [`PATIENCE`]. One that has been set back does not give again what has been, unless it was
    /// set back by more than that.
    pub(super) fn look(&mut self, now: Timestamp) -> Option<Turn> {
        let Some((at, index)) = self.next.take_if(|(at, _)| at.timestamp() <= now) else {
            if now < self.seen {
                self.plan(now);
            }
            self.seen = now;
            return None;
        };
        self.last = Some(at.timestamp());
        self.plan(now);
        let late = now.duration_since(at.timestamp());
        let turnout = if late > PATIENCE { Turnout::TooLate } else { Turnout::Due };
        Some(Turn { at, schedule: self.times[index].clone(), turnout })
    }

    fn plan(&mut self, now: Timestamp) {
        self.seen = now;
        let from = match self.last {
            Some(last) if last.duration_since(now) <= PATIENCE => last.max(now),
            _ => now,
        };
        let each = self.times.iter().enumerate();
        let each = each.filter_map(|(index, time)| Some((time.after(from, &self.zone)?, index)));
        self.next = each.min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timetable(lines: &[&str], now: &str) -> Timetable {
        let times = lines.iter().map(|line| line.parse().unwrap()).collect();
        let now: Zoned = now.parse().unwrap();
        Timetable::new(times, now.time_zone().clone(), now.timestamp())
    }

    /// What it says at these times of 2026-06-01 in Berlin, one after the other.
    fn looks(lines: &[&str], start: &str, clock: &[&str]) -> Vec<String> {
        let at = |time: &str| format!("2026-06-{time}+02:00[Europe/Berlin]");
        let mut timetable = timetable(lines, &at(start));
        let look = |time: &&str| {
            let now: Zoned = at(time).parse().unwrap();
            match timetable.look(now.timestamp()) {
                Some(Turn { at, schedule, turnout: Turnout::Due }) => {
                    format!("{schedule} {}", at.strftime("%dT%H:%M:%S"))
                }
                Some(Turn { at, .. }) => format!("too late {}", at.strftime("%dT%H:%M:%S")),
                None => "-".to_owned(),
            }
        };
        clock.iter().map(look).collect()
    }

    #[test]
    fn every_turn_comes_once() {
        let clock = ["01T03:59:59", "01T04:00:00", "01T04:00:01", "02T03:00:00", "02T04:00:00"];
        assert_eq!(
            looks(&["0 4 * * *"], "01T00:00:00", &clock),
            ["-", "0 4 * * * 01T04:00:00", "-", "-", "0 4 * * * 02T04:00:00"]
        );
    }

    #[test]
    fn several_lines_take_turns_and_one_turn_does_for_those_at_the_same_time() {
        let clock = ["01T04:00:00", "01T04:00:00", "01T05:00:00", "01T05:00:01"];
        assert_eq!(
            looks(&["0 4 * * *", "0 5 * * *", "0 4,5 * * *"], "01T00:00:00", &clock),
            ["0 4 * * * 01T04:00:00", "-", "0 5 * * * 01T05:00:00", "-"]
        );
    }

    /// The machine slept for two hours, or its clock was set: 7200 turns are one.
    #[test]
    fn what_was_skipped_is_one_turn() {
        let clock = ["01T02:00:00", "01T02:00:00", "01T02:00:01"];
        assert_eq!(
            looks(&["* * * * * *"], "01T00:00:00", &clock),
            ["* * * * * * 01T00:00:01", "-", "* * * * * * 01T02:00:01"]
        );
    }

    #[test]
    fn what_was_skipped_long_ago_does_not_count() {
        let clock = ["01T07:00:01", "01T07:00:02", "02T04:00:00"];
        assert_eq!(
            looks(&["0 4 * * *"], "01T00:00:00", &clock),
            ["too late 01T04:00:00", "-", "0 4 * * * 02T04:00:00"]
        );
    }

    #[test]
    fn what_has_been_does_not_come_again_when_the_clock_is_set_back_a_little() {
        let clock = ["01T04:00:00", "01T03:59:58", "01T04:00:00", "01T04:00:01", "02T04:00:00"];
        assert_eq!(
            looks(&["0 4 * * *"], "01T00:00:00", &clock),
            ["0 4 * * * 01T04:00:00", "-", "-", "-", "0 4 * * * 02T04:00:00"]
        );
    }

    /// It was wrong for a long time, so what it said does not count.
    #[test]
    fn a_clock_that_is_set_back_by_days_is_believed() {
        let clock = ["20T04:00:00", "01T03:59:58", "01T04:00:00", "01T04:00:01"];
        assert_eq!(
            looks(&["0 4 * * *"], "20T00:00:00", &clock),
            ["0 4 * * * 20T04:00:00", "-", "0 4 * * * 01T04:00:00", "-"]
        );
    }

    /// It waits for 2027, and somebody finds out that it is 2026.
    #[test]
    fn a_clock_that_is_set_back_before_anything_has_been_is_believed() {
        let mut timetable = timetable(&["0 4 * * *"], "2027-01-01T00:00:00+00:00[UTC]");
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(timetable.look(now), None);
        assert_eq!(timetable.next(), Some("2026-01-01T04:00:00Z".parse().unwrap()));
    }

    #[test]
    fn an_empty_one_never_has_a_turn() {
        let mut timetable = timetable(&[], "2026-01-01T00:00:00+00:00[UTC]");
        assert_eq!(timetable.look(Timestamp::MAX), None);
        assert_eq!((timetable.next(), timetable.upcoming()), (None, None));
    }
}
