//! Sums up what was measured.

use std::collections::BTreeMap;

use super::load::Outcome;
use super::subject::Subject;
use crate::spread::Spread;
use crate::usage::{CpuTime, Memory};

/// One run of one subject.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    /// What the primary used while wrk ran.
    pub(crate) cpu: CpuTime,
    /// What the primary held when wrk had ended.
    pub(crate) memory: Memory,
}

impl Run {
    pub(crate) fn requests_per_second(&self) -> f64 {
        self.outcome.requests_per_second
    }

    pub(crate) fn latency_p99_ms(&self) -> f64 {
        self.outcome.latency_p99.as_secs_f64() * 1e3
    }

    /// The primary's CPU time for one connection, in microseconds.
    pub(crate) fn cpu_per_connection_us(&self) -> f64 {
        self.cpu.scheduled.as_secs_f64() * 1e6 / self.outcome.requests as f64
    }

    /// The same by clock ticks.
    pub(crate) fn ticked_per_connection_us(&self) -> f64 {
        self.cpu.ticked.as_secs_f64() * 1e6 / self.outcome.requests as f64
    }

    pub(crate) fn resident_mib(&self) -> f64 {
        self.memory.resident.as_mebibytes()
    }

    pub(crate) fn peak_mib(&self) -> f64 {
        self.memory.peak.as_mebibytes()
    }
}

/// All runs, by subject, in the order of the rounds.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    runs: BTreeMap<Subject, Vec<Run>>,
}

impl Figures {
    pub(crate) fn add(&mut self, subject: Subject, run: Run) {
        self.runs.entry(subject).or_default().push(run);
    }

    /// One figure of a subject over all rounds; every subject has been measured.
    pub(crate) fn spread(&self, subject: Subject, figure: impl Fn(&Run) -> f64) -> Spread {
        sum_up(self.runs[&subject].iter().map(figure))
    }

    /// How one subject's figure compares with another's. The ratio is taken within each
    /// round, where both met the same machine, and summed up afterwards.
    pub(crate) fn ratio(
        &self,
        subject: Subject,
        base: Subject,
        figure: impl Fn(&Run) -> f64,
    ) -> Spread {
        let pairs = self.runs[&subject].iter().zip(&self.runs[&base]);
        sum_up(pairs.map(|(run, base)| figure(run) / figure(base)))
    }

    /// All errors that wrk met under this subject.
    pub(crate) fn errors(&self, subject: Subject) -> u64 {
        self.runs[&subject].iter().map(|run| run.outcome.errors.total()).sum()
    }
}

fn sum_up(values: impl Iterator<Item = f64>) -> Spread {
    Spread::of(values).expect("invariant: a subject with a list of runs has a run")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(requests_per_second: f64) -> Run {
        Run { outcome: Outcome { requests_per_second, ..Outcome::default() }, ..Run::default() }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut figures = Figures::default();
        for (node, forkyard) in [(100.0, 200.0), (10.0, 40.0), (1.0, 3.0)] {
            figures.add(Subject::NodeRoundRobin, run(node));
            figures.add(Subject::ForkyardRoundRobin, run(forkyard));
        }
        let (subject, base) = (Subject::ForkyardRoundRobin, Subject::NodeRoundRobin);
        let ratio = figures.ratio(subject, base, Run::requests_per_second);
        assert_eq!(ratio, Spread { median: 3.0, least: 2.0, most: 4.0 });
    }

    #[test]
    fn cpu_is_told_per_connection() {
        let outcome = Outcome { requests: 1000, ..Outcome::default() };
        let scheduled = std::time::Duration::from_millis(20);
        let cpu = CpuTime { scheduled, ..CpuTime::default() };
        let run = Run { outcome, cpu, ..Run::default() };
        assert!((run.cpu_per_connection_us() - 20.0).abs() < 1e-9);
    }
}
