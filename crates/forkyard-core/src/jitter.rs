//! Chance from a seed: the same seed gives the same run.

use std::time::Duration;

/// A splitmix64 generator (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014). Good enough to spread restarts, and three lines long.
#[derive(Clone, Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Takes up to a quarter off, so that a cap stays a cap.
    pub(crate) fn shorten(&mut self, delay: Duration) -> Duration {
        let quarter = (delay / 4).as_nanos() as u64;
        let off = if quarter == 0 { 0 } else { self.next() % quarter };
        delay - Duration::from_nanos(off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortens_by_a_quarter_at_most_and_not_always_by_the_same() {
        let mut jitter = Jitter::from_seed(7);
        let delays: Vec<_> = (0..100).map(|_| jitter.shorten(Duration::from_millis(100))).collect();
        assert!(delays.iter().all(|d| (75..=100).contains(&d.as_millis())));
        assert!(delays.windows(2).any(|pair| pair[0] != pair[1]));
        assert_eq!(jitter.shorten(Duration::ZERO), Duration::ZERO);
    }
}
