//! What clients notice of an upgrade of Forkyard's primary.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::contestant::{App, Contestant, Files, Setup};
use super::load::Load;
use super::roll;
use super::tally::Tally;
use crate::client::Reuse;

/// How many requests each kind of client makes without, and with, an upgrade.
const REQUESTS: u64 = 400;

const LIMIT: Duration = Duration::from_secs(60);

/// Clients with and without an upgrade, on the same app.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// What they see anyhow, for comparison.
    pub(crate) without: Tally,
    pub(crate) with: Tally,
    /// What Forkyard says that it was.
    pub(crate) own_account: Duration,
}

impl Outcome {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "without": self.without.to_json(),
            "with": self.with.to_json(),
            "own_account_ms": self.own_account.as_secs_f64() * 1e3,
        })
    }
}

pub(crate) fn run(workers: u16, files: &Files, port: u16) -> Result<Outcome> {
    let mut app = App::start(Setup::of(Contestant::Forkyard, workers), files, port)?;
    let (without, ()) = clients_during(port, || Ok(()))?;
    let (with, upgraded) = clients_during(port, || app.upgrade())?;
    app.stop()?;
    Ok(Outcome { without, with, own_account: upgraded.pause })
}

/// What clients see of what is done half-way through their requests.
fn clients_during<T>(port: u16, act: impl FnOnce() -> Result<T>) -> Result<(Tally, T)> {
    let kept = roll::light_load(port).start();
    let new = Load { reuse: Reuse::Close, ..roll::light_load(port) }.start();
    new.wait_for_requests(REQUESTS / 2, LIMIT)?;
    let done = act()?;
    let so_far = new.requests();
    new.wait_for_requests(so_far + REQUESTS / 2, LIMIT)?;
    let mut tally = kept.stop()?;
    tally.add(new.stop()?);
    Ok((tally, done))
}
