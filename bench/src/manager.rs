//! The benchmark of process managers: what it costs to have apps managed, under Forkyard and PM2.
//!
//! [`contestant`] runs apps in a [`fleet`](contestant::Fleet) of its own. What is measured:
//! [`growth`], memory and the time of commands while there are more and more apps, and [`flood`],
//! CPU while a worker writes a lot. [`report`] prints it.

mod contestant;
mod flood;
mod growth;
mod report;

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::pm2::Pm2Files;
use crate::ports::Ports;
use crate::runs::Runs;
use crate::tools::{self, Peers};
use crate::{orphans, say};

use contestant::{Contestant, Files};
use flood::Flood;
use growth::Growth;

/// Measures what Forkyard and PM2 cost as process managers: memory, the time of commands, and CPU
/// under a flood of output. Installs PM2 from the npm registry.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,

    /// How often the list is asked for in each round
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=200))]
    lists: u32,

    /// How often one app is stopped and started in each round
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    starts: u32,

    /// How many lines a second the flood has
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    lines: u32,

    /// How many seconds the flood takes
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,

    /// Write all single figures to a file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    #[command(flatten)]
    peers: tools::Args,
}

/// All rounds.
#[derive(Clone, Debug, Default)]
struct Results {
    growth: Runs<Contestant, Growth>,
    flood: Runs<Contestant, Flood>,
}

/// Measures and prints.
pub(crate) fn run(args: &Args) -> Result<()> {
    let peers = Peers::find(&args.peers)?;
    let machine = format!("{}, PM2 {}", peers.describe()?, tools::PM2_VERSION);
    let files = Files { pm2: Pm2Files::new(&peers.node, tools::install_pm2()?)?, peers };
    let mut bench = Bench { args, files, ports: Ports::new(), results: Results::default() };
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
    /// One round of everything, each beginning with another contestant.
    fn measure(&mut self, round: u32) -> Result<()> {
        let mut all = Contestant::ALL;
        all.rotate_left(round as usize % Contestant::ALL.len());
        for contestant in all {
            self.measure_one(round, contestant)
                .with_context(|| format!("failed to measure {}", contestant.name()))?;
            orphans::end_all()?;
        }
        Ok(())
    }

    fn measure_one(&mut self, round: u32, contestant: Contestant) -> Result<()> {
        let Self { args, files, ports, results } = self;
        let say = |what: &str| {
            say(&format!("round {} of {}: {what}: {}", round + 1, args.rounds, contestant.name()));
        };
        say("more and more apps");
        let plan = growth::Plan { lists: args.lists, starts: args.starts };
        let growth = growth::run(plan, contestant, files, ports)?;
        results.growth.add(contestant, growth);
        say("a flood of output");
        let rate = flood::Rate { lines_per_second: args.lines, seconds: args.seconds };
        results.flood.add(contestant, flood::run(rate, contestant, files, ports.next()?)?);
        Ok(())
    }
}

impl Results {
    fn to_json(&self) -> Value {
        let growth = self.growth.all().map(|(whose, runs)| {
            (whose.name().to_owned(), runs.iter().map(Growth::to_json).collect::<Value>())
        });
        let flood = self.flood.all().map(|(whose, runs)| {
            (whose.name().to_owned(), runs.iter().map(Flood::to_json).collect::<Value>())
        });
        json!({
            "growth": Value::Object(growth.collect()),
            "flood": Value::Object(flood.collect()),
        })
    }
}
