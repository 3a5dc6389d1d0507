//! How many answers came from each worker.

use std::collections::{BTreeMap, BTreeSet};

/// Counts by process id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    counts: BTreeMap<i32, u64>,
}

impl Shares {
    /// A worker that gave no answer has a share of nothing.
    pub(crate) fn of(workers: &BTreeSet<i32>, answers: impl Iterator<Item = i32>) -> Self {
        let mut counts: BTreeMap<_, _> = workers.iter().map(|pid| (*pid, 0)).collect();
        for pid in answers {
            *counts.entry(pid).or_default() += 1;
        }
        Self { counts }
    }

    /// The most over the least: 1 is even, infinite is a worker without any.
    pub(crate) fn most_over_least(&self) -> f64 {
        let (most, least) = (self.counts.values().max(), self.counts.values().min());
        most.zip(least).map_or(f64::NAN, |(most, least)| *most as f64 / *least as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gave_no_answer_counts() {
        let shares = |answers: &[i32]| Shares::of(&[7, 8].into(), answers.iter().copied());
        assert_eq!(shares(&[7, 8, 8, 7]).most_over_least(), 1.0);
        assert_eq!(shares(&[7, 8, 8, 8]).most_over_least(), 3.0);
        assert_eq!(shares(&[7, 7]).most_over_least(), f64::INFINITY);
    }
}
