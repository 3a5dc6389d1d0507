//! What became of the requests of a load.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::client::{Failure, Reply};

/// A request that went wrong.
#[derive(Clone, Debug)]
pub struct Lost {
    /// What was asked for.
    pub id: String,
    /// The client's port; 0 if it never got a connection, or none that has one.
    pub local_port: u16,
    /// How it went wrong.
    pub failure: Failure,
}

/// What became of all requests. Shown, it says how many went wrong in each way.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The ids answered rightly, with who answered.
    pub answered: BTreeMap<String, i32>,
    /// All others.
    pub lost: Vec<Lost>,
    /// How many were answered by each version of the program, as far as it says.
    pub versions: BTreeMap<String, usize>,
    /// The longest that a client waited for an answer.
    pub longest: Duration,
}

/// Who gave an answer that is right.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pid: i32,
    version: Option<String>,
}

impl Answered {
    /// Looks at an answer: it has to be the one to this id.
    pub(crate) fn check(reply: &Reply, id: &str) -> Result<Self, Failure> {
        let json = reply.json();
        let right = reply.status == 200 && json["id"] == id;
        let pid = json["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        let version = json["version"].as_str().map(str::to_owned);
        let answered = pid.filter(|_| right).map(|pid| Self { pid, version });
        answered.ok_or_else(|| Failure::Wrong(format!("{reply:?} to {id}")))
    }
}

impl Tally {
    pub(crate) fn add_answered(&mut self, id: String, by: Answered, took: Duration) {
        self.answered.insert(id, by.pid);
        if let Some(version) = by.version {
            *self.versions.entry(version).or_default() += 1;
        }
        self.longest = self.longest.max(took);
    }

    pub(crate) fn add_lost(&mut self, lost: Lost) {
        self.lost.push(lost);
    }

    /// The requests that went wrong in the given way.
    #[must_use]
    pub fn count(&self, failure: &Failure) -> usize {
        let same =
            |lost: &&Lost| std::mem::discriminant(&lost.failure) == std::mem::discriminant(failure);
        self.lost.iter().filter(same).count()
    }

    /// How many requests each process answered.
    #[must_use]
    pub fn by_worker(&self) -> BTreeMap<i32, usize> {
        let mut counts = BTreeMap::new();
        for &pid in self.answered.values() {
            *counts.entry(pid).or_default() += 1;
        }
        counts
    }

    /// The versions of the program that answered.
    #[must_use]
    pub fn versions(&self) -> Vec<&str> {
        self.versions.keys().map(String::as_str).collect()
    }

    /// Fails the test unless every request was answered rightly.
    ///
    /// # Panics
    ///
    /// When one was not.
    pub fn assert_nothing_lost(&self) {
        let lost = &self.lost[..self.lost.len().min(20)];
        assert!(self.lost.is_empty(), "{self}: {lost:#?}");
        assert!(!self.answered.is_empty(), "nothing was asked");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answered, lost, versions, longest } = self;
        write!(f, "{} answered, {} lost (", answered.len(), lost.len())?;
        let ways = [
            (Failure::Refused, "refused"),
            (Failure::Reset, "reset"),
            (Failure::Closed, "closed early"),
            (Failure::TimedOut, "timed out"),
            (Failure::Late(Duration::ZERO), "late"),
            (Failure::Wrong(String::new()), "wrong"),
            (Failure::Other(String::new()), "other"),
        ];
        for (failure, word) in ways {
            write!(f, " {} {word}", self.count(&failure))?;
        }
        write!(f, " ), {} ms at most, by version {versions:?}", longest.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, body: body.into(), keeps_alive: true }
    }

    #[test]
    fn only_the_answer_to_the_question_is_right() {
        let right = Answered::check(&reply(200, r#"{"id":"r1","pid":7,"version":"2"}"#), "r1");
        assert_eq!(right.map(|by| (by.pid, by.version)), Ok((7, Some("2".into()))));
        for wrong in [
            reply(503, r#"{"id":"r1","pid":7}"#),
            reply(200, r#"{"id":"r2","pid":7}"#),
            reply(200, r#"{"id":"r1"}"#),
            reply(200, "busy"),
        ] {
            let checked = Answered::check(&wrong, "r1");
            assert!(matches!(checked, Err(Failure::Wrong(_))), "{checked:?}");
        }
    }

    #[test]
    fn every_way_to_go_wrong_is_shown() {
        let mut tally = Tally::default();
        let failures = [
            Failure::Refused,
            Failure::Reset,
            Failure::Closed,
            Failure::TimedOut,
            Failure::Late(Duration::from_secs(1)),
            Failure::Wrong("answer".into()),
            Failure::Other("trouble".into()),
        ];
        for failure in failures {
            tally.add_lost(Lost { id: "r1".into(), local_port: 0, failure });
        }
        let shown = tally.to_string();
        for word in ["refused", "reset", "closed early", "timed out", "late", "wrong", "other"] {
            assert!(shown.contains(&format!(" 1 {word}")), "{shown}");
        }
    }
}
