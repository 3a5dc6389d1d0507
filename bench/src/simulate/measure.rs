//! What is counted while a scenario runs.
//!
//! Only what is asked after the warm-up and before the last arrival counts, so that neither
//! the empty beginning nor the emptying end is in the figures.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::cost::{Cost, Kind};

/// Significant digits of the histograms: 0.1 % is less than any difference worth telling.
const DIGITS: u8 = 3;

/// Whether what happens now counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    WarmingUp,
    Measuring,
    Emptying,
}

/// Counters of one run.
#[derive(Debug)]
pub(super) struct Measure {
    phase: Phase,
    from: Duration,
    to: Duration,
    /// Answer times of ordinary requests, in nanoseconds.
    ordinary: Histogram<u64>,
    /// Of all requests: from asking until a worker begins.
    waits: Waits,
    /// Requests asked while it counted and not answered yet.
    pending: u64,
    answered: u64,
    turned_away: u64,
    taken: Vec<u64>,
    primary_busy: Duration,
    handed_over: u64,
}

/// For comparison with theory, which tells means.
#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    total: Duration,
    count: u32,
}

impl Measure {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            phase: Phase::WarmingUp,
            from: Duration::ZERO,
            to: Duration::ZERO,
            ordinary: histogram(),
            waits: Waits::default(),
            pending: 0,
            answered: 0,
            turned_away: 0,
            taken: vec![0; workers],
            primary_busy: Duration::ZERO,
            handed_over: 0,
        }
    }

    pub(super) fn begin(&mut self, now: Duration) {
        self.phase = Phase::Measuring;
        self.from = now;
    }

    pub(super) fn end(&mut self, now: Duration) {
        self.phase = Phase::Emptying;
        self.to = now;
    }

    /// Whether all arrivals are over and every request that counts is answered.
    pub(super) fn is_complete(&self) -> bool {
        self.phase == Phase::Emptying && self.pending == 0
    }

    /// Whether a request that is asked now counts; if so its answer is waited for.
    pub(super) fn asked(&mut self) -> bool {
        let counts = self.phase == Phase::Measuring;
        self.pending += u64::from(counts);
        counts
    }

    /// Nobody answers it.
    pub(super) fn turned_away(&mut self, counts: bool) {
        if counts {
            self.pending -= 1;
            self.turned_away += 1;
        }
    }

    pub(super) fn taken(&mut self, worker: usize) {
        if self.phase == Phase::Measuring {
            self.taken[worker] += 1;
        }
    }

    pub(super) fn handed_over(&mut self) {
        if self.phase == Phase::Measuring {
            self.handed_over += 1;
        }
    }

    /// A request that had been asked before this long is answered, after work of this cost.
    pub(super) fn answered(&mut self, took: Duration, cost: Cost, counts: bool) {
        self.answered += u64::from(self.phase == Phase::Measuring);
        if !counts {
            return;
        }
        self.pending -= 1;
        self.waits.total += took.saturating_sub(cost.lasts);
        self.waits.count += 1;
        if cost.kind == Kind::Ordinary {
            self.ordinary.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn primary_was_busy(&mut self, lasted: Duration) {
        if self.phase == Phase::Measuring {
            self.primary_busy += lasted;
        }
    }

    pub(super) fn figures(&self) -> Figures {
        let seconds = (self.to - self.from).as_secs_f64();
        Figures {
            answered: self.answered as f64 / seconds,
            p50: self.quantile(0.5),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            mean_wait: self.waits.total / self.waits.count.max(1),
            spread: spread(&self.taken),
            primary: self.primary_busy.as_secs_f64() / seconds,
            handed_over: self.handed_over as f64 / seconds,
            turned_away: self.turned_away,
        }
    }

    fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.ordinary.value_at_quantile(quantile))
    }
}

/// What became of a scenario.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figures {
    /// Requests answered a second.
    pub(super) answered: f64,
    /// From asking to the answer, of ordinary requests: who asks for what blocks knows why he
    /// waits.
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) p999: Duration,
    /// From asking until a worker begins, of all requests, on average.
    pub(super) mean_wait: Duration,
    /// Connections of the worker with the most by those of the one with the fewest; infinite if
    /// that had none. `None` where connections are nobody's.
    pub(super) spread: Option<f64>,
    /// How much of a core the primary needs.
    pub(super) primary: f64,
    /// Connections a second that went through the primary.
    pub(super) handed_over: f64,
    /// Connections that found the accept queue full.
    pub(super) turned_away: u64,
}

/// For nanoseconds, up to an hour: whatever takes longer is as bad.
fn histogram() -> Histogram<u64> {
    const HOUR: u64 = 3_600_000_000_000;
    let histogram = Histogram::new_with_bounds(100, HOUR, DIGITS);
    histogram.expect("invariant: the bounds are in order and the digits few")
}

fn spread(taken: &[u64]) -> Option<f64> {
    let (least, most) = (*taken.iter().min()?, *taken.iter().max()?);
    (most > 0).then(|| most as f64 / least as f64)
}
