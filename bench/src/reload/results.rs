//! All that was measured, in the order of the rounds.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::contestant::Contestant;
use super::roll::Circumstances;
use super::tally::Tally;
use super::{under_load, upgrade};
use crate::client::Reuse;
use crate::spread::Spread;

/// Where a worker is killed, or what starts without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Start {
    /// Not a crash: plain Node starting the program.
    Bare,
    AfterCrash(Contestant),
    /// Forkyard's, with a spare.
    FromSpare,
}

impl Start {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Bare => "bare start of the program".into(),
            Self::AfterCrash(contestant) => contestant.name().into(),
            Self::FromSpare => "Forkyard, --spares 1".into(),
        }
    }
}

/// One kind of reload whose time is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RollKind {
    pub(crate) workers: u16,
    pub(crate) circumstances: Circumstances,
    pub(crate) contestant: Contestant,
}

/// Everything. A part that was not measured is empty.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) under_load: BTreeMap<(Reuse, Contestant), Vec<under_load::Outcome>>,
    pub(crate) starts: BTreeMap<Start, Vec<Duration>>,
    pub(crate) rolls: BTreeMap<RollKind, Vec<Duration>>,
    /// What PM2's command takes for nothing.
    pub(crate) pm2_ping: Vec<Duration>,
    pub(crate) upgrades: Vec<upgrade::Outcome>,
}

/// How clients of a kind use their connections.
pub(crate) fn describe(reuse: Reuse) -> &'static str {
    match reuse {
        Reuse::KeepAlive => "keep-alive",
        Reuse::Close => "a connection each",
    }
}

impl Results {
    /// All clients of a contestant's reload loops, and how many reloads they saw.
    pub(crate) fn all_under_load(&self, contestant: Contestant) -> (Tally, usize) {
        let runs = self.under_load.iter().filter(|((_, who), _)| *who == contestant);
        let (mut tally, mut reloads) = (Tally::default(), 0);
        for run in runs.flat_map(|(_, runs)| runs) {
            tally.add(run.tally.clone());
            reloads += run.reloads.len();
        }
        (tally, reloads)
    }

    /// How many milliseconds more it takes than a bare start. The difference is taken within
    /// each turn, where both met the same machine, and summed up afterwards.
    pub(crate) fn more_than_bare(&self, start: Start) -> Option<Spread> {
        let pairs = self.starts.get(&start)?.iter().zip(self.starts.get(&Start::Bare)?);
        let in_ms = |time: &Duration| time.as_secs_f64() * 1e3;
        Spread::of(pairs.map(|(time, bare)| in_ms(time) - in_ms(bare)))
    }

    pub(crate) fn to_json(&self) -> Value {
        let under_load = self.under_load.iter().map(|((reuse, contestant), runs)| {
            let runs: Vec<_> = runs.iter().map(under_load::Outcome::to_json).collect();
            json!({ "contestant": contestant.name(), "clients": describe(*reuse), "runs": runs })
        });
        let starts = self.starts.iter().map(|(start, times)| (start.name(), in_ms(times)));
        let rolls = self.rolls.iter().map(|(kind, times)| {
            json!({
                "contestant": kind.contestant.name(), "workers": kind.workers,
                "circumstances": kind.circumstances.name(), "took_ms": in_ms(times),
            })
        });
        json!({
            "under_load": under_load.collect::<Vec<_>>(),
            "until_first_answer_ms": starts.collect::<Map<_, _>>(),
            "rolls": rolls.collect::<Vec<_>>(),
            "pm2_ping_ms": in_ms(&self.pm2_ping),
            "upgrades": self.upgrades.iter().map(upgrade::Outcome::to_json).collect::<Vec<_>>(),
        })
    }
}

fn in_ms(times: &[Duration]) -> Value {
    times.iter().map(|time| time.as_secs_f64() * 1e3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_compared_with_the_bare_one_of_the_same_turn() {
        let times = |ms: [u64; 3]| ms.map(Duration::from_millis).to_vec();
        let starts =
            [(Start::Bare, times([50, 500, 90])), (Start::FromSpare, times([60, 504, 95]))];
        let results = Results { starts: starts.into(), ..Results::default() };
        let more = results.more_than_bare(Start::FromSpare).unwrap();
        assert_eq!((more.median.round(), more.most.round()), (5.0, 10.0));
        assert_eq!(results.more_than_bare(Start::AfterCrash(Contestant::Pm2)), None);
    }
}
