//! When clients connect, who they are, and how long they think between two requests.
//!
//! Clients do not wait for each other (an open loop): a Poisson stream, as that of many
//! independent clients is.

use std::time::Duration;

use forkyard_core::Origin;
use rand::rngs::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, Zipf};

/// How clients behave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Traffic {
    /// Connections a second.
    pub(super) rate: f64,
    /// Requests on each connection.
    pub(super) requests: u32,
    /// How long a client waits on average from an answer to its next request.
    pub(super) think: Duration,
    /// How many different client addresses there are.
    pub(super) clients: u32,
    /// How unequal they are: the exponent of a Zipf distribution. With 0 all connect equally
    /// often; with 1 the most eager one does twice as often as the second.
    pub(super) skew: f64,
}

/// Draws all that depends on clients.
#[derive(Debug)]
pub(super) struct Arrivals {
    traffic: Traffic,
    clients: Zipf<f64>,
    chance: ChaCha8Rng,
}

impl Arrivals {
    pub(super) fn new(traffic: Traffic, chance: ChaCha8Rng) -> Self {
        let clients = Zipf::new(f64::from(traffic.clients.max(1)), traffic.skew);
        let clients =
            clients.expect("invariant: there is a client, and the skew is no less than 0");
        Self { traffic, clients, chance }
    }

    /// From one connection to the next.
    pub(super) fn next_gap(&mut self) -> Duration {
        let factor: f64 = Exp1.sample(&mut self.chance);
        Duration::from_secs_f64(factor / self.traffic.rate)
    }

    /// Whose connection it is.
    pub(super) fn next_origin(&mut self) -> Origin {
        /// Spreads neighbouring numbers over all values (Knuth's multiplicative hash).
        const SPREAD: u32 = 0x9e37_79b1;
        let client = self.clients.sample(&mut self.chance);
        Origin((client as u32).wrapping_mul(SPREAD))
    }

    pub(super) fn next_think(&mut self) -> Duration {
        let factor: f64 = Exp1.sample(&mut self.chance);
        self.traffic.think.mul_f64(factor)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn arrivals(skew: f64) -> Arrivals {
        let think = Duration::from_millis(10);
        let traffic = Traffic { rate: 1000.0, requests: 1, think, clients: 100, skew };
        Arrivals::new(traffic, ChaCha8Rng::seed_from_u64(1))
    }

    #[test]
    fn gaps_are_exponential() {
        let mut arrivals = arrivals(0.0);
        let gaps: Vec<_> = (0..200_000).map(|_| arrivals.next_gap().as_secs_f64()).collect();
        let count = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / count;
        let square = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        assert!((mean * 1000.0 - 1.0).abs() < 0.01, "mean {mean}");
        assert!((square.sqrt() / mean - 1.0).abs() < 0.02, "deviation {}", square.sqrt());
    }

    #[test]
    fn the_most_eager_client_connects_twice_as_often_as_the_second() {
        let mut arrivals = arrivals(1.0);
        let origins: Vec<_> = (0..100_000).map(|_| arrivals.next_origin()).collect();
        let times = |client: u32| {
            let origin = Origin(client.wrapping_mul(0x9e37_79b1));
            origins.iter().filter(|other| **other == origin).count() as f64
        };
        assert!((times(1) / times(2) - 2.0).abs() < 0.1, "{} and {}", times(1), times(2));
    }
}
