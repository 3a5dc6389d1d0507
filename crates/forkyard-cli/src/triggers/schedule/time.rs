//! One line of cron, and the time zone that it is meant in.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use croner::Cron;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, Zoned};

/// When to do something, as cron writes it: `0 4 * * *`, with seconds before it if need be, or
/// `@daily`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule(Arc<Line>);

#[derive(Debug, PartialEq, Eq)]
struct Line {
    text: String,
    cron: Cron,
}

/// Why a line of cron is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScheduleError {
    #[error("{why}; write minute, hour, day of month, month and day of week, as in \"0 4 * * *\"")]
    NotUnderstood { why: String },
    #[error("this day never comes; check day of month and month")]
    NeverComes,
}

/// A time zone by its name in the tz database.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Zone(TimeZone);

/// Why there is no such zone.
#[derive(Debug, thiserror::Error)]
#[error(
    "there is no such time zone here; name one as in Europe/Berlin or UTC, and see that the \
     system has its zones (on Debian: apt-get install tzdata)"
)]
pub(crate) struct UnknownZone;

impl Schedule {
    /// The first moment after `from` at which it is time.
    ///
    /// Where the hour is named, as in `30 2 * * *`, the clock on the wall counts: a time that is
    /// left out that day is made up for right after the gap, and one that comes twice counts once.
    /// Where it is not, as in `*/10 * * * *`, the time that passes counts.
    pub(super) fn after(&self, from: Timestamp, zone: &TimeZone) -> Option<Zoned> {
        let from = from.to_zoned(zone.clone());
        let cron = &self.0.cron;
        if cron.pattern.hours.from_wildcard {
            return cron.find_next_occurrence(&from, false).ok();
        }
        let mut on_the_wall = from.datetime();
        loop {
            on_the_wall = cron.find_next_occurrence(&on_the_wall, false).ok()?;
            let at = moment(on_the_wall, zone)?;
            // In an hour that is had twice, the clock on the wall says what has been before.
            if at > from {
                return Some(at);
            }
        }
    }
}

/// When the clock on the wall shows that, for the first time; or when it has skipped it.
fn moment(on_the_wall: DateTime, zone: &TimeZone) -> Option<Zoned> {
    let ambiguous = zone.to_ambiguous_timestamp(on_the_wall);
    let at = match ambiguous.offset() {
        AmbiguousOffset::Gap { .. } => {
            let before = ambiguous.earlier().ok()?;
            zone.following(before).next()?.timestamp()
        }
        AmbiguousOffset::Fold { .. } | AmbiguousOffset::Unambiguous { .. } => {
            ambiguous.earlier().ok()?
        }
    };
    Some(at.to_zoned(zone.clone()))
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let not_understood = |why: croner::errors::CronError| {
            let why = why.to_string().trim_end_matches('.').to_owned();
            ScheduleError::NotUnderstood { why }
        };
        let cron: Cron = text.parse().map_err(not_understood)?;
        let schedule = Self(Arc::new(Line { text: text.trim().to_owned(), cron }));
        let next = schedule.after(Timestamp::now(), &TimeZone::UTC);
        next.map(|_| schedule).ok_or(ScheduleError::NeverComes)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl Zone {
    pub(super) fn time_zone(&self) -> TimeZone {
        self.0.clone()
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        TimeZone::get(name).map(Self).map_err(|_| UnknownZone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        name.parse::<Zone>().unwrap().time_zone()
    }

    /// The first times after this one.
    fn times(line: &str, from: &str, count: usize) -> Vec<String> {
        let schedule: Schedule = line.parse().unwrap();
        let from: Zoned = from.parse().unwrap();
        let zone = from.time_zone().clone();
        let next = |at: &Timestamp| schedule.after(*at, &zone).map(|next| next.timestamp());
        let all = std::iter::successors(next(&from.timestamp()), next).take(count);
        all.map(|at| at.to_zoned(zone.clone()).strftime("%m-%d %H:%M:%S%:z").to_string()).collect()
    }

    #[test]
    fn a_line_says_when() {
        let from = "2026-02-27T23:59:00+00:00[UTC]";
        for (line, expected) in [
            ("0 4 * * *", ["02-28 04:00:00+00:00", "03-01 04:00:00+00:00"]),
            ("*/20 * * * *", ["02-28 00:00:00+00:00", "02-28 00:20:00+00:00"]),
            ("30 59 23 * * *", ["02-27 23:59:30+00:00", "02-28 23:59:30+00:00"]),
            ("0 0 1 * *", ["03-01 00:00:00+00:00", "04-01 00:00:00+00:00"]),
            ("0 0 * * MON", ["03-02 00:00:00+00:00", "03-09 00:00:00+00:00"]),
            ("0 3 L * *", ["02-28 03:00:00+00:00", "03-31 03:00:00+00:00"]),
            ("30 2 * * MON-FRI", ["03-02 02:30:00+00:00", "03-03 02:30:00+00:00"]),
            ("@daily", ["02-28 00:00:00+00:00", "03-01 00:00:00+00:00"]),
        ] {
            assert_eq!(times(line, from, 2), expected, "{line}");
        }
    }

    /// 2026-03-29 02:00 to 03:00 does not exist in Berlin.
    #[test]
    fn a_time_that_is_left_out_is_made_up_for() {
        let from = "2026-03-28T12:00:00+01:00[Europe/Berlin]";
        assert_eq!(
            times("30 2 * * *", from, 3),
            ["03-29 03:00:00+02:00", "03-30 02:30:00+02:00", "03-31 02:30:00+02:00"]
        );
        // Once, however many times are left out.
        assert_eq!(
            times("0,30 2,4 * * *", from, 3),
            ["03-29 03:00:00+02:00", "03-29 04:00:00+02:00", "03-29 04:30:00+02:00"]
        );
        assert_eq!(times("0 3 * * *", from, 1), ["03-29 03:00:00+02:00"]);
    }

    /// Half an hour is left out on Lord Howe Island, on 2026-10-04 from 02:00 on.
    #[test]
    fn a_gap_may_be_half_an_hour() {
        let from = "2026-10-03T12:00:00+10:30[Australia/Lord_Howe]";
        assert_eq!(times("15 2 * * *", from, 2), ["10-04 02:30:00+11:00", "10-05 02:15:00+11:00"]);
    }

    /// 2026-10-25 02:00 to 03:00 comes twice in Berlin.
    #[test]
    fn a_time_that_comes_twice_counts_once() {
        let from = "2026-10-24T12:00:00+02:00[Europe/Berlin]";
        assert_eq!(times("30 2 * * *", from, 2), ["10-25 02:30:00+02:00", "10-26 02:30:00+01:00"]);
        assert_eq!(
            times("0,30 2,3 * * *", from, 4),
            [
                "10-25 02:00:00+02:00",
                "10-25 02:30:00+02:00",
                "10-25 03:00:00+01:00",
                "10-25 03:30:00+01:00"
            ]
        );
        // Also if somebody looks in between, when the clock shows it for the second time.
        let between = "2026-10-25T02:15:00+01:00[Europe/Berlin]";
        assert_eq!(times("30 2 * * *", between, 1), ["10-26 02:30:00+01:00"]);
    }

    /// Every half an hour is every half an hour.
    #[test]
    fn what_names_no_hour_goes_by_the_time_that_passes() {
        let gap = "2026-03-29T01:29:00+01:00[Europe/Berlin]";
        assert_eq!(
            times("*/30 * * * *", gap, 3),
            ["03-29 01:30:00+01:00", "03-29 03:00:00+02:00", "03-29 03:30:00+02:00"]
        );
        let twice = "2026-10-25T02:29:00+02:00[Europe/Berlin]";
        assert_eq!(
            times("*/30 * * * *", twice, 4),
            [
                "10-25 02:30:00+02:00",
                "10-25 02:00:00+01:00",
                "10-25 02:30:00+01:00",
                "10-25 03:00:00+01:00"
            ]
        );
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let message = |line: &str| line.parse::<Schedule>().unwrap_err().to_string();
        for line in ["", "4", "0 4 * *", "0 25 * * *", "soon", "* * * * FUNDAY", "0 0 0 0 0 0 0 0"]
        {
            assert!(message(line).contains("0 4 * * *"), "{line:?}: {}", message(line));
        }
        assert!(message("0 0 30 2 *").contains("never comes"));
        for name in ["", "Europe", "Europe/Nowhere", "../etc/passwd"] {
            let message = name.parse::<Zone>().unwrap_err().to_string();
            assert!(message.contains("Europe/Berlin"), "{name:?}: {message}");
        }
        assert_eq!(zone("UTC"), TimeZone::UTC);
    }
}
