//! Policies compared in virtual time: many workers and more clients than a machine has.
//!
//! The choices are those of the real core, driven as the primary's shell drives it; what is a
//! model is all around it. Every part is a server that does one thing after the other:
//!
//! ```text
//!              ┌─▶ accept queues ─┬──────────────────────▶ workers
//!   arrivals ──┤                  │ reclaimed               ▲ │
//!              └─▶ accept queue ──┴─▶ primary ── channels ──┘ │ took, answered
//!                                      ▲ └── core             │
//!                                      └──────────────────────┘
//! ```
//!
//! | file | is about |
//! |---|---|
//! | [`arrivals`] | when clients connect, and who they are |
//! | [`cost`] | how long a request keeps a worker busy |
//! | [`connection`] | connections and accept queues |
//! | [`worker`] | an event loop |
//! | [`lookout`] | when the primary looks at the lanes |
//! | [`primary`] | the core, and a thread that carries out what it decides |
//! | [`policies`] | what is compared |
//! | [`rules`] | settings, and what the primary's work costs |
//! | [`agenda`] | virtual time |
//! | [`world`] | one run: puts these together |
//! | [`measure`] | what is counted |
//! | [`sections`] | the scenarios that are run by default |
//! | [`core_cost`] | what the core's choice itself takes, in real time |
//! | [`report`] | the tables |
//! | `theory` | the model against theory and reality |

mod agenda;
mod arrivals;
mod connection;
mod core_cost;
mod cost;
mod lookout;
mod measure;
mod policies;
mod primary;
mod report;
mod rules;
mod sections;
#[cfg(test)]
mod theory;
mod worker;
mod world;

use std::io;
use std::time::Duration;

use anyhow::{Result, ensure};

use arrivals::Traffic;
use cost::{CostSettings, Shape};
use policies::Policy;
use rules::{HANDOFF, LOOK_EVERY, Prices, Rules, TAKE};
use sections::{Plan, Section};
use world::Scenario;

/// Simulates policies in virtual time, from 2 to 256 workers and up to 1,000,000
/// connections/s. With `--workers` a scenario of your own, otherwise a table of many.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these groups of tables
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SECTIONS")]
    only: Vec<Section>,
    /// Only these policies
    #[arg(long, value_enum, value_delimiter = ',', value_name = "POLICIES")]
    policies: Vec<Policy>,
    /// How many connections are simulated in each cell
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(100..=100_000_000))]
    arrivals: u32,
    /// Where chance comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    rules: RuleArgs,
    #[command(flatten)]
    cell: CellArgs,
}

/// What holds for all scenarios.
#[derive(Debug, clap::Args)]
struct RuleArgs {
    /// A round-robin primary's time for a connection, in microseconds
    #[arg(long, value_name = "MICROSECONDS", default_value_t = micros_of(HANDOFF))]
    handoff: f64,
    /// A worker's time for taking a connection from the primary, in microseconds
    #[arg(long, value_name = "MICROSECONDS", default_value_t = micros_of(TAKE))]
    take: f64,
    /// How often the primary looks at the lanes so long as something comes, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = micros_of(LOOK_EVERY) / 1e3)]
    look_every: f64,
    /// After how long without a connection taken a worker counts as blocked, in milliseconds
    #[arg(long, value_name = "MILLISECONDS")]
    rescue_after: Option<f64>,
    /// How many unanswered connections a worker may have
    #[arg(long)]
    window: Option<usize>,
    /// How long one may be unanswered, in milliseconds
    #[arg(long, value_name = "MILLISECONDS")]
    patience: Option<f64>,
    /// How many connections a worker accepts in a turn of its event loop
    #[arg(long, default_value_t = 1, value_name = "N")]
    accepts: usize,
}

/// A scenario of one's own.
#[derive(Debug, clap::Args)]
struct CellArgs {
    /// How many workers
    #[arg(long)]
    workers: Option<usize>,
    /// Connections a second
    #[arg(long, requires = "workers", conflicts_with = "load")]
    rate: Option<f64>,
    /// How busy requests keep the workers, from 0 to 1, instead of a rate
    #[arg(long, requires = "workers")]
    load: Option<f64>,
    /// The mean cost of a request, in microseconds
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 1000.0)]
    cost: f64,
    /// How costs are spread
    #[arg(long, value_enum, default_value = "exponential")]
    shape: Shape,
    /// How many of 100 requests block
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    blocking: f64,
    /// For how long they do, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 100.0)]
    blocking_for: f64,
    /// Requests on each connection
    #[arg(long, default_value_t = 1, value_name = "N")]
    requests: u32,
    /// How long a client waits between two, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 200.0)]
    think: f64,
    /// How many client addresses there are
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    clients: u32,
    /// How unequal clients are: 0 for not at all
    #[arg(long, default_value_t = 1.0)]
    skew: f64,
}

/// The most workers: beyond it the core takes longer than a simulation should.
const MAX_WORKERS: usize = 1024;

pub(crate) fn run(args: &Args) -> Result<()> {
    let plan = Plan {
        rules: args.rules.rules()?,
        connections: args.arrivals,
        seed: args.seed,
        policies: or_all(&args.policies, &Policy::ALL),
    };
    let mut out = io::stdout().lock();
    if let Some(workers) = args.cell.workers {
        let scenario = args.cell.scenario(workers, args)?;
        return Ok(plan.compare(&scenario, &mut out)?);
    }
    for section in or_all(&args.only, &Section::ALL) {
        plan.run(section, &mut out)?;
    }
    Ok(())
}

impl RuleArgs {
    fn rules(&self) -> Result<Rules> {
        ensure!(self.accepts > 0, "a worker has to accept at least one connection in a turn");
        let mut rules = Rules {
            prices: Prices::new(micros(self.handoff)?, micros(self.take)?),
            look_every: millis(self.look_every)?,
            accepts: self.accepts,
            ..Rules::default()
        };
        ensure!(!rules.look_every.is_zero(), "looking without a pause would never end");
        let dispatch = &mut rules.dispatch;
        dispatch.window = self.window.unwrap_or(dispatch.window);
        if let Some(after) = self.rescue_after {
            dispatch.rescue_after = millis(after)?;
        }
        if let Some(patience) = self.patience {
            dispatch.patience = millis(patience)?;
        }
        ensure!(dispatch.window > 0, "with a window of 0 no worker gets anything");
        ensure!(!dispatch.patience.is_zero(), "without patience no worker gets anything");
        Ok(rules)
    }
}

impl CellArgs {
    fn scenario(&self, workers: usize, args: &Args) -> Result<Scenario> {
        ensure!((1..=MAX_WORKERS).contains(&workers), "from 1 to {MAX_WORKERS} workers");
        ensure!((0.0..=100.0).contains(&self.blocking), "blocking requests are a percentage");
        ensure!(self.skew >= 0.0 && self.requests > 0, "a skew below 0, or no request");
        let rate = self.rate.unwrap_or(1.0);
        let load = self.load.unwrap_or(0.5);
        ensure!(rate > 0.0 && load > 0.0 && self.cost > 0.0, "nothing would happen");
        let cost = CostSettings {
            mean: micros(self.cost)?,
            shape: self.shape,
            blocking_share: self.blocking / 100.0,
            blocking: millis(self.blocking_for)?,
        };
        let traffic = Traffic {
            rate,
            requests: self.requests,
            think: millis(self.think)?,
            clients: self.clients,
            skew: self.skew,
        };
        let connections = (args.arrivals / self.requests).max(100);
        let scenario = Scenario { workers, traffic, cost, connections, seed: args.seed };
        Ok(if self.rate.is_some() { scenario } else { scenario.with_load(load) })
    }
}

fn or_all<T: Copy>(asked: &[T], all: &[T]) -> Vec<T> {
    if asked.is_empty() { all.to_vec() } else { asked.to_vec() }
}

fn micros(micros: f64) -> Result<Duration> {
    Ok(Duration::try_from_secs_f64(micros / 1e6)?)
}

fn millis(millis: f64) -> Result<Duration> {
    micros(millis * 1e3)
}

fn micros_of(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
