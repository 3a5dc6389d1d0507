//! Forkyard measured against Node's own cluster primary, as one table.
//!
//! The same program runs under each [`Subject`] in turn, round after round, so that what
//! else the machine does meets all of them alike. [`tools`] gets what is needed,
//! [`subject`] runs the program, [`load`] sends the requests, [`process`] says what the
//! primary used, [`figures`] sums up and [`table`] prints.
#![forbid(unsafe_code)]

mod figures;
mod load;
mod process;
mod subject;
mod table;
mod tools;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use figures::{Figures, Run};
use load::Load;
use subject::{Ports, Programs, Running, Subject};

/// How long each run is loaded before it is measured: Node compiles what is hot.
const WARM_UP: Duration = Duration::from_secs(2);

/// Measures Forkyard against Node's own cluster primary. Builds Forkyard, and installs wrk
/// from Debian if it is missing.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// How long one run is measured, in seconds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,

    /// How many connections are open at a time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,

    /// The Node to run everything with; by default the one on the path
    #[arg(long, value_name = "PATH", default_value = "node")]
    node: PathBuf,

    /// A `forkyard` to measure instead of the one that is built from here
    #[arg(long, value_name = "PATH")]
    forkyard: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let node_version = tools::node_version(&args.node)?;
    tools::install_wrk()?;
    let forkyard = match &args.forkyard {
        Some(path) => path.clone(),
        None => tools::build_forkyard()?,
    };
    let machine = tools::describe_machine(&forkyard, &node_version)?;
    let programs = Programs { node: args.node.clone(), forkyard, server: tools::server_program() };
    let figures = measure(&args, &programs)?;
    let settings = table::Settings {
        rounds: args.rounds,
        seconds: args.seconds,
        connections: args.connections,
        workers: subject::WORKERS,
    };
    let mut out = std::io::stdout().lock();
    table::print(&mut out, &machine, &settings, &figures).context("failed to print the table")
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
    let before = process::cpu_time(running.pid())?;
    let outcome = load(Duration::from_secs(args.seconds)).run()?;
    let cpu = process::cpu_time(running.pid())? - before;
    let memory = process::memory(running.pid())?;
    running.stop()?;
    Ok(Run { outcome, cpu, memory })
}

/// Progress goes to stderr, so that stdout is the table and nothing else.
fn say(text: &str) {
    // Nobody may be reading any more.
    let _ = writeln!(std::io::stderr().lock(), "bench: {text}");
}
