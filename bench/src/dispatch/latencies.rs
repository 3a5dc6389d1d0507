//! How long many requests took: exact, from all of them.

use std::time::Duration;

/// Times in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Latencies {
    sorted: Vec<Duration>,
}

impl Latencies {
    pub(crate) fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut sorted: Vec<_> = times.collect();
        sorted.sort_unstable();
        Self { sorted }
    }

    /// The least time that so many of 1000 did not exceed. Zero of nothing.
    pub(crate) fn within(&self, per_mille: usize) -> Duration {
        let rank = (self.sorted.len() * per_mille).div_ceil(1000);
        self.sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    pub(crate) fn longest(&self) -> Duration {
        self.within(1000)
    }

    pub(crate) fn count(&self) -> usize {
        self.sorted.len()
    }

    /// How many took longer than that.
    pub(crate) fn longer_than(&self, bound: Duration) -> usize {
        self.sorted.len() - self.sorted.partition_point(|time| *time <= bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(times: impl Iterator<Item = u64>) -> Latencies {
        Latencies::of(times.map(Duration::from_millis))
    }

    #[test]
    fn a_share_is_the_least_time_that_it_did_not_exceed() {
        let latencies = ms((1..=1000).rev());
        for per_mille in [1, 500, 990, 999, 1000] {
            let expected = Duration::from_millis(per_mille as u64);
            assert_eq!(latencies.within(per_mille), expected);
        }
        assert_eq!(ms([3, 1, 2].into_iter()).within(500), Duration::from_millis(2));
        assert_eq!(ms(std::iter::empty()).longest(), Duration::ZERO);
    }

    #[test]
    fn those_above_a_bound_are_counted() {
        let latencies = ms([10, 50, 51, 6000].into_iter());
        assert_eq!(latencies.longer_than(Duration::from_millis(50)), 2);
        assert_eq!(latencies.longer_than(Duration::from_secs(60)), 0);
    }
}
