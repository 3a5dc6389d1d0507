//! A worker that writes a lot: what it costs to put that into files.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};

use super::contestant::{App, Contestant, Files, Fleet};
use crate::interrupt;
use crate::reload::probe;
use crate::tools;
use crate::usage::{self, CpuTime};

/// How long the rest of it may take to get into the log, and how often that is looked at.
const LIMIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How much is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) lines_per_second: u32,
    pub(crate) seconds: u32,
}

/// What was measured in one round.
#[derive(Clone, Debug)]
pub(crate) struct Flood {
    /// What the worker wrote.
    pub(crate) lines_per_second: f64,
    /// How many were in the log in the end.
    pub(crate) logged: usize,
    /// After the last line was written, until all were seen in the log.
    pub(crate) late: Duration,
    /// Of the managing process until then, as a share of a core while the worker wrote.
    pub(crate) cpu: f64,
}

/// Has one app flood its log.
pub(crate) fn run(rate: Rate, contestant: Contestant, files: &Files, port: u16) -> Result<Flood> {
    let fleet = Fleet::new(contestant, files)?;
    let app = App { name: "flood".into(), program: tools::program("flooding.js"), port };
    let variables = [
        ("LINES_PER_SECOND", rate.lines_per_second.to_string()),
        ("SECONDS", rate.seconds.to_string()),
    ];
    fleet.add(&app, &variables)?;
    probe::first_answer(port, Instant::now(), None)?;
    let flood = measure(rate, &fleet, &app)?;
    fleet.end()?;
    Ok(flood)
}

fn measure(rate: Rate, fleet: &Fleet, app: &App) -> Result<Flood> {
    let total = rate.lines_per_second as usize * rate.seconds as usize;
    let before = cpu_time(fleet)?;
    let took = flood(app.port, rate)?;
    let ended = Instant::now();
    let mut logged = fleet.logged(app)?;
    while logged < total && ended.elapsed() < LIMIT {
        interrupt::pause(LOOK_EVERY)?;
        logged = fleet.logged(app)?;
    }
    let (late, used) = (ended.elapsed(), cpu_time(fleet)? - before);
    ensure!(logged == total, "{logged} of {total} lines are in the log");
    let seconds = took.as_secs_f64();
    // Files may be compressed by a thread that has ended by now: the ticks have it.
    let cpu = used.ticked.as_secs_f64() / seconds;
    Ok(Flood { lines_per_second: total as f64 / seconds, logged, late, cpu })
}

/// Returns how long the worker took, by its own account.
fn flood(port: u16, rate: Rate) -> Result<Duration> {
    let limit = Duration::from_secs(u64::from(rate.seconds) * 3) + LIMIT;
    let answer = crate::client::ask_patiently(port, "/flood", limit);
    let answer = answer.map_err(|failure| anyhow!("the flood has no end: {failure:?}"))?;
    let took = answer.split_whitespace().nth(1).and_then(|ms| ms.parse().ok());
    took.map(Duration::from_millis).with_context(|| format!("failed to read {answer:?}"))
}

fn cpu_time(fleet: &Fleet) -> Result<CpuTime> {
    let [manager] = fleet.managers()?[..] else {
        return Err(anyhow!("one app is managed by several processes"));
    };
    usage::cpu_time(manager)
}

impl Flood {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "lines_per_second": self.lines_per_second,
            "logged": self.logged,
            "late_ms": self.late.as_secs_f64() * 1e3,
            "cpu": self.cpu,
        })
    }
}
