//! The reload loop: an app is reloaded again and again while clients ask as fast as they are
//! answered.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::contestant::{App, Files, Setup};
use super::load::Load;
use super::tally::Tally;
use crate::client::Reuse;

/// How long the clients may take for their share of requests between two reloads.
const SHARE_LIMIT: Duration = Duration::from_secs(600);

/// How much is asked and reloaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) clients: u16,
    pub(crate) reuse: Reuse,
    /// There are at least so many requests; more if the reloads take longer.
    pub(crate) requests: u64,
    pub(crate) reloads: u32,
}

/// What clients saw, and how long each reload took.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) reloads: Vec<Duration>,
}

impl Outcome {
    pub(crate) fn to_json(&self) -> Value {
        let reloads = self.reloads.iter().map(|took| took.as_secs_f64() * 1e3);
        json!({ "clients": self.tally.to_json(), "reloads_ms": reloads.collect::<Vec<_>>() })
    }
}

/// Reloads spread evenly over the requests, the first one after half a share.
pub(crate) fn run(plan: Plan, setup: Setup, files: &Files, port: u16) -> Result<Outcome> {
    let mut app = App::start(setup, files, port)?;
    let Plan { clients, reuse, .. } = plan;
    let clients = Load { port: app.port(), clients, reuse, pace: Duration::ZERO }.start();
    let mut reloads = Vec::new();
    for number in 0..plan.reloads {
        clients.wait_for_requests(plan.begin_of(number), SHARE_LIMIT)?;
        reloads.push(app.reload()?);
    }
    clients.wait_for_requests(plan.requests, SHARE_LIMIT)?;
    let tally = clients.stop()?;
    app.stop()?;
    Ok(Outcome { tally, reloads })
}

impl Plan {
    /// After how many requests a reload begins.
    fn begin_of(self, number: u32) -> u64 {
        let halves = u64::from(number) * 2 + 1;
        self.requests * halves / (u64::from(self.reloads) * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reloads_are_spread_over_the_requests() {
        let plan = Plan { clients: 1, reuse: Reuse::Close, requests: 1000, reloads: 4 };
        let begins: Vec<_> = (0..4).map(|number| plan.begin_of(number)).collect();
        assert_eq!(begins, [125, 375, 625, 875]);
    }
}
