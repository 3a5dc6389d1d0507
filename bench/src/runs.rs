//! What was measured of each contestant, in the order of the rounds.

use std::collections::BTreeMap;

use crate::spread::Spread;

/// Runs by contestant.
#[derive(Clone, Debug)]
pub(crate) struct Runs<K, T> {
    runs: BTreeMap<K, Vec<T>>,
}

impl<K, T> Default for Runs<K, T> {
    fn default() -> Self {
        Self { runs: BTreeMap::new() }
    }
}

impl<K: Copy + Ord, T> Runs<K, T> {
    pub(crate) fn add(&mut self, whose: K, run: T) {
        self.runs.entry(whose).or_default().push(run);
    }

    pub(crate) fn of(&self, whose: K) -> &[T] {
        self.runs.get(&whose).map_or(&[], Vec::as_slice)
    }

    /// Who was measured.
    pub(crate) fn all(&self) -> impl Iterator<Item = (K, &[T])> {
        self.runs.iter().map(|(whose, runs)| (*whose, runs.as_slice()))
    }

    /// One figure over all rounds. `None` if there is none.
    pub(crate) fn spread(&self, whose: K, figure: impl Fn(&T) -> f64) -> Option<Spread> {
        Spread::of(self.of(whose).iter().map(figure))
    }

    /// How one figure compares with another's. The ratio is taken within each round, where
    /// both met the same machine, and summed up afterwards.
    pub(crate) fn ratio(&self, whose: K, base: K, figure: impl Fn(&T) -> f64) -> Option<Spread> {
        let pairs = self.of(whose).iter().zip(self.of(base));
        Spread::of(pairs.map(|(run, base)| figure(run) / figure(base)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut runs = Runs::default();
        for (node, forkyard) in [(100.0, 200.0), (10.0, 40.0), (1.0, 3.0)] {
            runs.add("node", node);
            runs.add("forkyard", forkyard);
        }
        let ratio = runs.ratio("forkyard", "node", |run| *run);
        assert_eq!(ratio, Some(Spread { median: 3.0, least: 2.0, most: 4.0 }));
        assert_eq!(runs.ratio("forkyard", "nobody", |run| *run), None);
    }
}
