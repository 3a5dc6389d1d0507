//! What became of a client's requests, or of those of many.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Failure;

/// Failed requests by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    pub(crate) refused: u64,
    pub(crate) reset: u64,
    pub(crate) timed_out: u64,
    pub(crate) wrong: u64,
    pub(crate) late: u64,
    pub(crate) other: u64,
}

/// Counts and pauses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// All requests, failed ones included.
    pub(crate) requests: u64,
    pub(crate) failures: Failures,
    /// The longest time from asking to an answer, or to knowing that none will come.
    pub(crate) longest_wait: Duration,
    /// The longest time that one client was without a right answer, from one to the next, or
    /// to its last failure.
    pub(crate) longest_gap: Duration,
    /// The first failure that needs words.
    pub(crate) example: Option<String>,
}

/// Counts for one client.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    tally: Tally,
    last_answer: Option<Instant>,
}

impl Failures {
    pub(crate) fn total(&self) -> u64 {
        let Self { refused, reset, timed_out, wrong, late, other } = self;
        refused + reset + timed_out + wrong + late + other
    }

    fn add(&mut self, more: &Self) {
        self.refused += more.refused;
        self.reset += more.reset;
        self.timed_out += more.timed_out;
        self.wrong += more.wrong;
        self.late += more.late;
        self.other += more.other;
    }
}

impl Tally {
    /// Takes in another client's, or another run's.
    pub(crate) fn add(&mut self, more: Self) {
        self.requests += more.requests;
        self.failures.add(&more.failures);
        self.longest_wait = self.longest_wait.max(more.longest_wait);
        self.longest_gap = self.longest_gap.max(more.longest_gap);
        self.example = self.example.take().or(more.example);
    }

    pub(crate) fn to_json(&self) -> Value {
        let Failures { refused, reset, timed_out, wrong, late, other } = self.failures;
        json!({
            "requests": self.requests,
            "failures": {
                "refused": refused, "reset": reset, "timed_out": timed_out, "wrong": wrong,
                "late": late, "other": other,
            },
            "longest_wait_ms": self.longest_wait.as_secs_f64() * 1e3,
            "longest_gap_ms": self.longest_gap.as_secs_f64() * 1e3,
            "example": self.example,
        })
    }
}

impl Counter {
    /// Counts one request that was asked at `asked` and is over now.
    pub(crate) fn count(&mut self, asked: Instant, now: Instant, outcome: Result<i32, Failure>) {
        let wait = now - asked;
        self.tally.requests += 1;
        self.tally.longest_wait = self.tally.longest_wait.max(wait);
        let answered = match outcome {
            Ok(_) => true,
            Err(failure) => self.count_failure(failure),
        };
        if let Some(before) = self.last_answer {
            self.tally.longest_gap = self.tally.longest_gap.max(now - before);
        }
        if answered {
            self.last_answer = Some(now);
        }
    }

    /// Says whether there was a right answer all the same.
    fn count_failure(&mut self, failure: Failure) -> bool {
        let failures = &mut self.tally.failures;
        let (count, words) = match failure {
            Failure::Refused => (&mut failures.refused, None),
            Failure::Reset => (&mut failures.reset, None),
            Failure::TimedOut => (&mut failures.timed_out, None),
            Failure::Late => {
                failures.late += 1;
                return true;
            }
            Failure::Wrong(words) => (&mut failures.wrong, Some(words)),
            Failure::Other(words) => (&mut failures.other, Some(words)),
        };
        *count += 1;
        self.tally.example = self.tally.example.take().or(words);
        false
    }

    pub(crate) fn into_tally(self) -> Tally {
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::DEADLINE;

    #[test]
    fn a_gap_reaches_from_answer_to_answer() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut counter = Counter::default();
        counter.count(at(0), at(1), Ok(7));
        counter.count(at(1), at(3), Err(Failure::Refused));
        counter.count(at(13), at(14), Err(Failure::Wrong("404".into())));
        counter.count(at(14), at(21), Ok(8));
        let tally = counter.into_tally();
        let expected = Tally {
            requests: 4,
            failures: Failures { refused: 1, wrong: 1, ..Failures::default() },
            longest_wait: Duration::from_millis(7),
            longest_gap: Duration::from_millis(20),
            example: Some("404".into()),
        };
        assert_eq!(tally, expected);
    }

    #[test]
    fn a_gap_that_nothing_ends_counts_too() {
        let start = Instant::now();
        let mut counter = Counter::default();
        counter.count(start, start, Ok(7));
        counter.count(start, start + Duration::from_secs(5), Err(Failure::TimedOut));
        assert_eq!(counter.into_tally().longest_gap, Duration::from_secs(5));
    }

    #[test]
    fn a_late_answer_is_a_failure_and_an_answer() {
        let start = Instant::now();
        let mut counter = Counter::default();
        counter.count(start, start, Ok(7));
        let late = start + DEADLINE * 2;
        counter.count(start, late, Err(Failure::Late));
        counter.count(late, late, Ok(7));
        let tally = counter.into_tally();
        assert_eq!((tally.failures.total(), tally.longest_gap), (1, DEADLINE * 2));
    }

    #[test]
    fn tallies_are_added_up() {
        let one = |ms| Tally {
            requests: 10,
            failures: Failures { reset: 1, late: 2, ..Failures::default() },
            longest_wait: Duration::from_millis(ms),
            longest_gap: Duration::from_millis(10 - ms),
            example: Some(ms.to_string()),
        };
        let mut sum = one(3);
        sum.add(one(7));
        assert_eq!((sum.requests, sum.failures.total()), (20, 6));
        assert_eq!(sum.longest_wait, Duration::from_millis(7));
        assert_eq!(sum.longest_gap, Duration::from_millis(7));
        assert_eq!(sum.example.as_deref(), Some("3"));
    }
}
