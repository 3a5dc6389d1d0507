//! The benchmark of connections: the same program under four kinds of primary, with a new
//! connection for each request.
//!
//! [`subject`] runs the program, [`load`] sends the requests, [`figures`] sums up and
//! [`report`] prints.

mod figures;
mod load;
mod report;
mod subject;

use std::time::Duration;

use anyhow::{Context, Result};

use crate::ports::Ports;
use crate::tools::{self, Peers};
use crate::{say, usage};

use figures::{Figures, Run};
use load::Load;
use subject::{Programs, Running, Subject};

/// How long each run is loaded before it is measured: Node compiles what is hot.
const WARM_UP: Duration = Duration::from_secs(2);

/// Measures Forkyard against Node's own cluster primary: throughput, and what the primary
/// uses. Installs wrk from Debian if it is missing.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// How long one run is measured, in seconds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,

    /// How many connections are open at a time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,

    #[command(flatten)]
    peers: tools::Args,
}

/// Measures and prints.
pub(crate) fn run(args: &Args) -> Result<()> {
    tools::install_wrk()?;
    let peers = Peers::find(&args.peers)?;
    let machine = format!("{}, {}", peers.describe()?, tools::wrk_version()?);
    let figures = measure(args, &Programs::of(&peers))?;
    let settings = report::Settings {
        rounds: args.rounds,
        seconds: args.seconds,
        connections: args.connections,
        workers: subject::WORKERS,
    };
    let mut out = std::io::stdout().lock();
    report::print(&mut out, &machine, &settings, &figures).context("failed to print the table")
}

fn measure(args: &Args, programs: &Programs) -> Result<Figures> {
    let mut figures = Figures::default();
    let mut ports = Ports::new();
    for round in 0..args.rounds {
        for subject in Subject::in_turn(round) {
            say(&format!("round {} of {}: {}", round + 1, args.rounds, subject.name()));
            let run = measure_one(args, programs, &mut ports, subject)
                .with_context(|| format!("failed to measure {}", subject.name()))?;
            figures.add(subject, run);
        }
    }
    Ok(figures)
}

fn measure_one(
    args: &Args,
    programs: &Programs,
    ports: &mut Ports,
    subject: Subject,
) -> Result<Run> {
    let running = Running::start(subject, programs, ports.next()?)?;
    let load = |duration| Load { url: running.url(), connections: args.connections, duration };
    load(WARM_UP).run()?;
    let before = usage::cpu_time(running.pid())?;
    let outcome = load(Duration::from_secs(args.seconds)).run()?;
    let cpu = usage::cpu_time(running.pid())? - before;
    let memory = usage::memory(running.pid())?;
    running.stop()?;
    Ok(Run { outcome, cpu, memory })
}
