//! What is measured of an app, part by part.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::app::App;
use super::connection::{Connection, Kind, Request};
use super::latencies::Latencies;
use super::load::{Answer, Load, Mix, Outcome, Pace};
use super::shares::Shares;
use crate::client::Reuse;
use crate::origin::Origin;
use crate::usage;

/// How long an app is loaded before it is measured: Node compiles what is hot.
const WARM_UP: Duration = Duration::from_secs(1);

/// How many kept connections are opened one after another.
pub(crate) const KEPT_CONNECTIONS: u32 = 1000;

/// How long each of them may take.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// How often a connection is opened while some requests block: 1200 a second. Four workers,
/// each of which is blocked for 1 ms a request in the mean, have 30 % of their time to do.
pub(crate) const BLOCKING_PACE: Duration = Duration::from_micros(833);

/// How many of 1000 requests block, and for how long.
pub(crate) const BLOCKING_PER_MILLE: u64 = 10;
pub(crate) const BLOCKING_TIME: Duration = Duration::from_millis(100);

/// How often a connection is opened beside a worker that is blocked: 200 a second.
const STALL_PACE: Duration = Duration::from_millis(5);

/// How long one request blocks its worker.
pub(crate) const STALL_TIME: Duration = Duration::from_secs(6);

/// How many requests come before it: those of half a second.
const BEFORE_STALL: u64 = 100;

/// How long it goes on afterwards.
const AFTER_STALL: Duration = Duration::from_millis(500);

/// How the app is loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How long each load is.
    pub(crate) duration: Duration,
    /// How many clients ask at a time.
    pub(crate) clients: u16,
}

/// A new connection for each request.
#[derive(Clone, Debug)]
pub(crate) struct New {
    pub(crate) per_second: f64,
    pub(crate) latencies: Latencies,
    /// Of all that stands between clients and workers, for one connection. `None` where
    /// nothing does.
    pub(crate) cpu_us: Option<f64>,
    /// Of connections between workers, the most over the least.
    pub(crate) unevenness: f64,
    pub(crate) memory: Memory,
    pub(crate) failures: u64,
    pub(crate) example: Option<String>,
}

/// Of all that stands between clients and workers together, and of a worker in the mean.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) dispatchers: Resident,
    pub(crate) worker: Resident,
}

/// Memory in MiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resident {
    /// Shared pages included.
    pub(crate) resident: f64,
    /// Shared pages divided among those who share them.
    pub(crate) proportional: f64,
}

/// Kept connections.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Of connections between workers, the most over the least.
    pub(crate) unevenness: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) failures: u64,
    pub(crate) example: Option<String>,
}

/// Some requests block.
#[derive(Clone, Debug)]
pub(crate) struct Blocking {
    /// Of the others.
    pub(crate) latencies: Latencies,
    pub(crate) failures: u64,
    pub(crate) example: Option<String>,
}

/// One worker is blocked. What is said is of the connections opened meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Stall {
    /// Of all.
    pub(crate) waits: Latencies,
    /// Of those that another worker answered.
    pub(crate) of_others: Latencies,
    /// Of those that waited until the blocked worker answered.
    pub(crate) of_blocked: Latencies,
    pub(crate) failures: u64,
    pub(crate) example: Option<String>,
}

/// Loads the app with a new connection for each request.
pub(crate) fn new(app: &App, settings: Settings) -> Result<New> {
    let load = settings.load(app, Reuse::Close);
    Load { duration: WARM_UP, ..load }.run()?;
    let dispatchers = app.dispatchers()?;
    let before = cpu_time(&dispatchers)?;
    let outcome = load.run()?;
    let cpu = cpu_time(&dispatchers)?.saturating_sub(before);
    let cpu_us = cpu.as_secs_f64() * 1e6 / outcome.answers.len() as f64;
    let pids = outcome.answers.iter().map(|answer| answer.pid);
    Ok(New {
        per_second: rate(&outcome, load.duration),
        latencies: Latencies::of(outcome.answers.iter().map(|answer| answer.wait)),
        cpu_us: (!dispatchers.is_empty()).then_some(cpu_us),
        unevenness: Shares::of(app.workers(), pids).most_over_least(),
        memory: memory(app, &dispatchers)?,
        failures: outcome.failures,
        example: outcome.example,
    })
}

/// Opens connections one after another, which stay; then other clients ask on kept ones.
pub(crate) fn kept(app: &App, settings: Settings) -> Result<Kept> {
    let unevenness = kept_shares(app)?.most_over_least();
    let load = settings.load(app, Reuse::KeepAlive);
    Load { duration: WARM_UP, ..load }.run()?;
    let outcome = load.run()?;
    Ok(Kept {
        unevenness,
        requests_per_second: rate(&outcome, load.duration),
        failures: outcome.failures,
        example: outcome.example,
    })
}

/// Opens connections by the clock, some of which block a worker.
pub(crate) fn blocking(app: &App, settings: Settings) -> Result<Blocking> {
    let pace = Pace::Every(BLOCKING_PACE);
    let load = Load { pace, ..settings.load(app, Reuse::Close) };
    Load { duration: WARM_UP, ..load }.run()?;
    let mix = Mix::Some { per_mille: BLOCKING_PER_MILLE, time: BLOCKING_TIME };
    let outcome = Load { mix, ..load }.run()?;
    let plain = outcome.answers.iter().filter(|answer| answer.kind == Kind::Plain);
    Ok(Blocking {
        latencies: Latencies::of(plain.map(|answer| answer.wait)),
        failures: outcome.failures,
        example: outcome.example,
    })
}

/// Opens connections by the clock, one of which blocks a worker for long.
pub(crate) fn stall(app: &App) -> Result<Stall> {
    let before = STALL_PACE * u32::try_from(BEFORE_STALL).context("too many before")?;
    let load = Load {
        ports: app.ports(),
        pace: Pace::Every(STALL_PACE),
        reuse: Reuse::Close,
        mix: Mix::One { number: BEFORE_STALL, time: STALL_TIME },
        duration: before + STALL_TIME + AFTER_STALL,
    };
    Stall::of(load.run()?)
}

impl Settings {
    fn load<'a>(&self, app: &'a App, reuse: Reuse) -> Load<'a> {
        Load {
            ports: app.ports(),
            pace: Pace::AsAnswered { clients: self.clients },
            reuse,
            mix: Mix::Plain,
            duration: self.duration,
        }
    }
}

impl Stall {
    fn of(outcome: Outcome) -> Result<Self> {
        let Outcome { answers, failures, example } = outcome;
        let blocking = answers.iter().find(|answer| answer.kind == Kind::Blocking);
        let blocking = *blocking.context("the request that blocks was not answered")?;
        let end = blocking.asked + blocking.wait;
        let meanwhile: Vec<_> = answers
            .into_iter()
            .filter(|it| it.kind == Kind::Plain && it.asked >= blocking.asked && it.asked < end)
            .collect();
        let waits = |which: &dyn Fn(&Answer) -> bool| {
            let which = meanwhile.iter().filter(|answer| which(answer));
            Latencies::of(which.map(|answer| answer.wait))
        };
        Ok(Self {
            waits: waits(&|_| true),
            of_others: waits(&|answer| answer.pid != blocking.pid),
            of_blocked: waits(&|answer| answer.pid == blocking.pid),
            failures,
            example,
        })
    }
}

/// Answers a second, of those that came in time.
fn rate(outcome: &Outcome, duration: Duration) -> f64 {
    let in_time = |answer: &&Answer| answer.asked + answer.wait <= duration;
    outcome.answers.iter().filter(in_time).count() as f64 / duration.as_secs_f64()
}

/// Connections are open until all are.
fn kept_shares(app: &App) -> Result<Shares> {
    let mut open = Vec::new();
    let mut pids = Vec::new();
    for number in 0..KEPT_CONNECTIONS {
        let port = app.ports()[number as usize % app.ports().len()];
        let request =
            Request { path: format!("/{number}"), kind: Kind::Plain, reuse: Reuse::KeepAlive };
        let failed = |failure| anyhow!("failed to open connection {number}: {failure:?}");
        let mut connection = Connection::open(Origin::of(number), port, request).map_err(failed)?;
        pids.push(connection.wait(OPEN_LIMIT).map_err(failed)?);
        open.push(connection);
    }
    Ok(Shares::of(app.workers(), pids.into_iter()))
}

fn cpu_time(pids: &[u32]) -> Result<Duration> {
    pids.iter().map(|pid| Ok(usage::cpu_time(*pid)?.scheduled)).sum()
}

fn memory(app: &App, dispatchers: &[u32]) -> Result<Memory> {
    let workers = app.workers();
    let pids: Vec<_> = workers.iter().filter_map(|pid| u32::try_from(*pid).ok()).collect();
    let Resident { resident, proportional } = resident(&pids)?;
    let count = pids.len() as f64;
    let worker = Resident { resident: resident / count, proportional: proportional / count };
    Ok(Memory { dispatchers: self::resident(dispatchers)?, worker })
}

/// Of several processes together.
fn resident(pids: &[u32]) -> Result<Resident> {
    pids.iter().try_fold(Resident::default(), |sum, pid| {
        Ok(Resident {
            resident: sum.resident + usage::memory(*pid)?.resident.as_mebibytes(),
            proportional: sum.proportional + usage::proportional(*pid)?.as_mebibytes(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(asked_ms: u64, wait_ms: u64, pid: i32, kind: Kind) -> Answer {
        let (asked, wait) = (Duration::from_millis(asked_ms), Duration::from_millis(wait_ms));
        Answer { asked, wait, pid, kind }
    }

    #[test]
    fn of_a_stall_counts_who_came_while_it_lasted() {
        let answers = vec![
            answer(490, 900, 8, Kind::Plain),
            answer(500, 6000, 7, Kind::Blocking),
            answer(505, 40, 8, Kind::Plain),
            answer(510, 5991, 7, Kind::Plain),
            answer(6500, 700, 7, Kind::Plain),
        ];
        let stall = Stall::of(Outcome { answers, ..Outcome::default() }).unwrap();
        assert_eq!(stall.waits.count(), 2);
        assert_eq!(stall.of_others.longest(), Duration::from_millis(40));
        assert_eq!(stall.of_blocked.longest(), Duration::from_millis(5991));
    }

    #[test]
    fn a_rate_counts_what_was_answered_in_time() {
        let answers = vec![
            answer(0, 10, 7, Kind::Plain),
            answer(990, 10, 7, Kind::Plain),
            answer(995, 6, 7, Kind::Plain),
        ];
        let outcome = Outcome { answers, ..Outcome::default() };
        assert_eq!(rate(&outcome, Duration::from_secs(1)), 2.0);
    }
}
