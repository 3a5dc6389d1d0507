//! What was measured, by part and contestant.

use serde_json::{Value, json};

use super::contestant::Contestant;
use super::latencies::Latencies;
use super::measure::{Blocking, Kept, New, Resident, Stall};
use crate::runs::Runs;

/// All rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    pub(crate) new: Runs<Contestant, New>,
    pub(crate) kept: Runs<Contestant, Kept>,
    pub(crate) blocking: Runs<Contestant, Blocking>,
    pub(crate) stall: Runs<Contestant, Stall>,
    /// Who could not be measured, and why.
    pub(crate) left_out: Vec<(Contestant, String)>,
}

/// The p99, in milliseconds.
pub(crate) fn p99_ms(latencies: &Latencies) -> f64 {
    ms(latencies, 990)
}

/// What so many of 1000 did not exceed, in milliseconds.
pub(crate) fn ms(latencies: &Latencies, per_mille: usize) -> f64 {
    latencies.within(per_mille).as_secs_f64() * 1e3
}

impl Results {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "new": by_name(&self.new, New::to_json),
            "kept": by_name(&self.kept, Kept::to_json),
            "blocking": by_name(&self.blocking, Blocking::to_json),
            "stall": by_name(&self.stall, Stall::to_json),
        })
    }
}

fn by_name<T>(runs: &Runs<Contestant, T>, to_json: impl Fn(&T) -> Value) -> Value {
    let row = |(whose, runs): (Contestant, &[T])| {
        (whose.name().to_owned(), runs.iter().map(&to_json).collect::<Value>())
    };
    Value::Object(runs.all().map(row).collect())
}

impl New {
    fn to_json(&self) -> Value {
        json!({
            "per_second": self.per_second,
            "latencies": self.latencies.to_json(),
            "dispatchers_cpu_us": self.cpu_us,
            "most_over_least": self.unevenness,
            "dispatchers": self.memory.dispatchers.to_json(),
            "worker": self.memory.worker.to_json(),
            "failures": self.failures,
            "example": self.example,
        })
    }
}

impl Kept {
    fn to_json(&self) -> Value {
        json!({
            "requests_per_second": self.requests_per_second,
            "most_over_least": self.unevenness,
            "failures": self.failures,
            "example": self.example,
        })
    }
}

impl Blocking {
    fn to_json(&self) -> Value {
        json!({
            "latencies": self.latencies.to_json(),
            "failures": self.failures,
            "example": self.example,
        })
    }
}

impl Stall {
    fn to_json(&self) -> Value {
        json!({
            "all": self.waits.to_json(),
            "answered_by_others": self.of_others.to_json(),
            "answered_by_the_blocked_one": self.of_blocked.to_json(),
            "failures": self.failures,
            "example": self.example,
        })
    }
}

impl Latencies {
    fn to_json(&self) -> Value {
        json!({
            "count": self.count(),
            "p50_ms": ms(self, 500),
            "p99_ms": p99_ms(self),
            "p99_9_ms": ms(self, 999),
            "longest_ms": self.longest().as_secs_f64() * 1e3,
        })
    }
}

impl Resident {
    fn to_json(self) -> Value {
        json!({ "resident_mib": self.resident, "proportional_mib": self.proportional })
    }
}
