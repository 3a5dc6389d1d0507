//! How long a worker is busy with a request.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, Pareto};

/// How the costs of ordinary requests are spread about their mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Shape {
    /// All the same.
    Constant,
    /// Many small, few large: the variance is that of the mean.
    Exponential,
    /// Heavy-tailed: a bounded Pareto distribution, see [`PARETO_SHAPE`].
    Pareto,
}

/// The exponent of the heavy tail. Below 2 the variance has no bound but [`PARETO_SPAN`]: a
/// few requests make up much of all the work, as with files on the Web.
const PARETO_SHAPE: f64 = 1.5;
/// The largest cost by the smallest. The largest is 344 times the mean then.
const PARETO_SPAN: f64 = 1000.0;

/// What requests cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CostSettings {
    /// The mean of ordinary ones.
    pub(super) mean: Duration,
    pub(super) shape: Shape,
    /// How many of all requests block, from 0 to 1.
    pub(super) blocking_share: f64,
    /// How long these take.
    pub(super) blocking: Duration,
}

impl CostSettings {
    /// The mean over all requests.
    pub(super) fn overall_mean(&self) -> Duration {
        self.mean.mul_f64(1.0 - self.blocking_share) + self.blocking.mul_f64(self.blocking_share)
    }
}

/// One request's cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) lasts: Duration,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ordinary,
    /// It keeps the event loop for much longer than others.
    Blocking,
}

/// Draws costs.
#[derive(Debug)]
pub(super) struct Costs {
    settings: CostSettings,
    pareto: Pareto<f64>,
    chance: ChaCha8Rng,
}

impl Costs {
    pub(super) fn new(settings: CostSettings, chance: ChaCha8Rng) -> Self {
        let pareto = Pareto::new(1.0, PARETO_SHAPE).expect("invariant: both are positive");
        Self { settings, pareto, chance }
    }

    pub(super) fn next(&mut self) -> Cost {
        if self.chance.random_bool(self.settings.blocking_share) {
            return Cost { lasts: self.settings.blocking, kind: Kind::Blocking };
        }
        let factor = match self.settings.shape {
            Shape::Constant => 1.0,
            Shape::Exponential => Exp1.sample(&mut self.chance),
            Shape::Pareto => self.bounded_pareto() / bounded_pareto_mean(),
        };
        Cost { lasts: self.settings.mean.mul_f64(factor), kind: Kind::Ordinary }
    }

    /// What lies beyond the bound is drawn again, which leaves the rest's proportions alone.
    fn bounded_pareto(&mut self) -> f64 {
        loop {
            let drawn = self.pareto.sample(&mut self.chance);
            if drawn <= PARETO_SPAN {
                return drawn;
            }
        }
    }
}

/// The mean of a Pareto distribution from 1 to [`PARETO_SPAN`].
fn bounded_pareto_mean() -> f64 {
    let (shape, span) = (PARETO_SHAPE, PARETO_SPAN);
    shape / (shape - 1.0) * (1.0 - span.powf(1.0 - shape)) / (1.0 - span.powf(-shape))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn mean_of(settings: CostSettings) -> f64 {
        let mut costs = Costs::new(settings, ChaCha8Rng::seed_from_u64(1));
        let count = 1_000_000;
        let total: Duration = (0..count).map(|_| costs.next().lasts).sum();
        total.as_secs_f64() / f64::from(count)
    }

    #[test]
    fn means_are_as_asked_for() {
        for shape in [Shape::Constant, Shape::Exponential, Shape::Pareto] {
            for blocking_share in [0.0, 0.01] {
                let (mean, blocking) = (Duration::from_millis(1), Duration::from_millis(100));
                let settings = CostSettings { mean, shape, blocking_share, blocking };
                let expected = settings.overall_mean().as_secs_f64();
                let off = mean_of(settings) / expected - 1.0;
                assert!(off.abs() < 0.02, "{shape:?}, {blocking_share}: off by {off}");
            }
        }
    }
}
