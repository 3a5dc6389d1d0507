//! Sums up what was measured.

use super::load::Outcome;
use super::subject::Subject;
use crate::runs::Runs;
use crate::spread::Spread;
use crate::usage::{CpuTime, Memory};

const MEASURED: &str = "invariant: every subject has been measured in every round";

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

/// All runs, by subject.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    runs: Runs<Subject, Run>,
}

impl Figures {
    pub(crate) fn add(&mut self, subject: Subject, run: Run) {
        self.runs.add(subject, run);
    }

    /// One figure of a subject over all rounds; every subject has been measured.
    pub(crate) fn spread(&self, subject: Subject, figure: impl Fn(&Run) -> f64) -> Spread {
        self.runs.spread(subject, figure).expect(MEASURED)
    }

    /// How one subject's figure compares with another's.
    pub(crate) fn ratio(
        &self,
        subject: Subject,
        base: Subject,
        figure: impl Fn(&Run) -> f64,
    ) -> Spread {
        self.runs.ratio(subject, base, figure).expect(MEASURED)
    }

    /// All errors that wrk met under this subject.
    pub(crate) fn errors(&self, subject: Subject) -> u64 {
        self.runs.of(subject).iter().map(|run| run.outcome.errors.total()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_told_per_connection() {
        let outcome = Outcome { requests: 1000, ..Outcome::default() };
        let scheduled = std::time::Duration::from_millis(20);
        let cpu = CpuTime { scheduled, ..CpuTime::default() };
        let run = Run { outcome, cpu, ..Run::default() };
        assert!((run.cpu_per_connection_us() - 20.0).abs() < 1e-9);
    }
}
