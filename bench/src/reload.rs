//! The benchmark of reloads and crashes: what clients of an app notice of them under
//! Forkyard, PM2 and Node's own cluster.
//!
//! [`contestant`] runs and reloads the app. What is measured: [`under_load`], [`crash`],
//! [`roll`], [`upgrade`]. Who asks: many clients in a [`load`] with a [`tally`], and [`probe`]
//! after a crash. [`results`] are kept and [`report`] prints them.

mod contestant;
mod crash;
mod load;
pub(crate) mod probe;
mod report;
mod results;
mod roll;
mod tally;
mod under_load;
mod upgrade;

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;

use crate::client::Reuse;
use crate::pm2::Pm2Files;
use crate::ports::Ports;
use crate::tools::{self, Peers};
use crate::{orphans, say};

use contestant::{Contestant, Files, Setup};
use results::{Results, RollKind, Start};

/// How many workers are reloaded when the time for it is taken.
const ROLLED_WORKERS: [u16; 3] = [2, 8, 20];

/// Measures reloads and crashes under Forkyard, PM2 and Node's own cluster: what clients
/// lose, how long they wait, and how long it takes. Installs PM2 from the npm registry.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// How many requests there are under load for each contestant, over all rounds, half of
    /// them on kept connections. More, if the reloads take longer
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    requests: u64,

    /// How many reloads there are under that load; at least two in each round
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    reloads: u32,

    /// How many clients ask at a time under load
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=200))]
    clients: u16,

    /// How many workers an app under load has
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,

    /// How many crashes there are in each round for each contestant
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    crashes: u32,

    /// Measure only these, separated by commas
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    only: Vec<Part>,

    /// Measure only these, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    contestants: Vec<Contestant>,

    /// Options for `forkyard run`, separated by spaces, as in `--forkyard-args "--surge 2"`
    #[arg(long, value_name = "ARGS", value_delimiter = ' ', allow_hyphen_values = true)]
    forkyard_args: Vec<String>,

    /// Write all single figures to a file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    #[command(flatten)]
    peers: tools::Args,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Reloads under load
    Load,
    /// From a crash to the next answer
    Crash,
    /// The same with a spare, Forkyard only
    Spare,
    /// The time to replace all workers
    Roll,
    /// The upgrade of the primary, Forkyard only
    Upgrade,
}

/// Measures and prints.
pub(crate) fn run(args: &Args) -> Result<()> {
    let peers = Peers::find(&args.peers)?;
    let machine = format!("{}, PM2 {}", peers.describe()?, tools::PM2_VERSION);
    let pm2 = Pm2Files::new(&peers.node, tools::install_pm2()?)?;
    let mut bench = Bench {
        args,
        files: Files { peers, forkyard_args: args.forkyard_args.clone(), pm2 },
        ports: Ports::new(),
        results: Results::default(),
    };
    let measured = (0..args.rounds).try_for_each(|round| bench.measure(round));
    let results = bench.results;
    if let Some(path) = &args.json {
        let all = json!({ "machine": machine, "results": results.to_json() });
        std::fs::write(path, format!("{all:#}\n"))
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    let mut out = std::io::stdout().lock();
    report::print(&mut out, &machine, args, &results).context("failed to print the tables")?;
    // What had been measured until then is worth to be seen.
    measured.context("cut short; the tables say how much was measured")
}

struct Bench<'a> {
    args: &'a Args,
    files: Files,
    ports: Ports,
    results: Results,
}

impl Bench<'_> {
    /// One round of everything.
    fn measure(&mut self, round: u32) -> Result<()> {
        let contestants = self.in_turn(round);
        for reuse in [Reuse::KeepAlive, Reuse::Close] {
            for &contestant in contestants.iter().filter(|_| self.args.wants(Part::Load)) {
                self.under_load(round, reuse, contestant)?;
            }
        }
        for _ in 0..self.args.crashes {
            self.starts(round, &contestants)?;
        }
        for workers in ROLLED_WORKERS {
            for &contestant in contestants.iter().filter(|_| self.args.wants(Part::Roll)) {
                self.roll(round, workers, contestant)?;
            }
        }
        if self.args.wants(Part::Upgrade) && contestants.contains(&Contestant::Forkyard) {
            self.upgrade(round)?;
        }
        Ok(())
    }

    /// Those that take part, each round beginning with another one.
    fn in_turn(&self, round: u32) -> Vec<Contestant> {
        let mut all = Contestant::ALL.to_vec();
        all.retain(|it| self.args.contestants.is_empty() || self.args.contestants.contains(it));
        let first = round as usize % all.len();
        all.rotate_left(first);
        all
    }

    fn under_load(&mut self, round: u32, reuse: Reuse, contestant: Contestant) -> Result<()> {
        let Args { clients, workers, rounds, requests, reloads, .. } = *self.args;
        let plan = under_load::Plan {
            clients,
            reuse,
            requests: requests.div_ceil(u64::from(rounds) * 2),
            reloads: reloads.div_ceil(rounds * 2),
        };
        let what = format!("reloads under load, {}", results::describe(reuse));
        let outcome = self.run(round, &what, contestant.name(), |files, port| {
            under_load::run(plan, Setup::of(contestant, workers), files, port)
        })?;
        self.results.under_load.entry((reuse, contestant)).or_default().push(outcome);
        Ok(())
    }

    fn starts(&mut self, round: u32, contestants: &[Contestant]) -> Result<()> {
        if self.args.wants(Part::Crash) || self.args.wants(Part::Spare) {
            self.start(round, Start::Bare)?;
        }
        for &contestant in contestants.iter().filter(|_| self.args.wants(Part::Crash)) {
            self.start(round, Start::AfterCrash(contestant))?;
        }
        if self.args.wants(Part::Spare) && contestants.contains(&Contestant::Forkyard) {
            self.start(round, Start::FromSpare)?;
        }
        Ok(())
    }

    fn start(&mut self, round: u32, start: Start) -> Result<()> {
        let took = self.run(round, "crash", &start.name(), |files, port| {
            let _idle = crash::idle_node(&files.peers)?;
            match start {
                Start::Bare => crash::bare_start(&files.peers, port),
                Start::AfterCrash(contestant) => {
                    crash::until_answer(Setup::of(contestant, 1), files, port)
                }
                Start::FromSpare => {
                    let setup = Setup { spares: 1, ..Setup::of(Contestant::Forkyard, 1) };
                    crash::until_answer(setup, files, port)
                }
            }
        })?;
        self.results.starts.entry(start).or_default().push(took.answer);
        self.results.exits.entry(start).or_default().extend(took.exit);
        Ok(())
    }

    fn roll(&mut self, round: u32, workers: u16, contestant: Contestant) -> Result<()> {
        let what = format!("reload of {workers} workers");
        let times = self.run(round, &what, contestant.name(), |files, port| {
            roll::times(Setup::of(contestant, workers), files, port)
        })?;
        for (circumstances, took) in times.reloads {
            let kind = RollKind { workers, circumstances, contestant };
            self.results.rolls.entry(kind).or_default().push(took);
        }
        self.results.pm2_ping.extend(times.ping);
        Ok(())
    }

    fn upgrade(&mut self, round: u32) -> Result<()> {
        let workers = self.args.workers;
        let outcome = self.run(round, "upgrade", Contestant::Forkyard.name(), |files, port| {
            upgrade::run(workers, files, port)
        })?;
        self.results.upgrades.push(outcome);
        Ok(())
    }

    /// Measures something on a port of its own, and leaves nothing running.
    fn run<T>(
        &mut self,
        round: u32,
        what: &str,
        whose: &str,
        measure: impl FnOnce(&Files, u16) -> Result<T>,
    ) -> Result<T> {
        say(&format!("round {} of {}: {what}: {whose}", round + 1, self.args.rounds));
        let measured = measure(&self.files, self.ports.next()?)
            .with_context(|| format!("failed to measure {what} of {whose}"))?;
        orphans::end_all()?;
        Ok(measured)
    }
}

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}
