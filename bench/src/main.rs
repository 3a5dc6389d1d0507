//! Forkyard measured against its peers.
//!
//! There are four benchmarks: [`connections`], what a primary costs, [`dispatch`], how
//! connections reach workers, [`reload`], what clients notice of reloads and crashes, and
//! [`manager`], what it costs to have apps managed. In all of them the contestants take turns, round after round, so that whatever else the
//! machine does meets them alike. Beside them stands [`simulate`], which compares policies in
//! virtual time.
//!
//! The four use [`tools`], which gets what is needed, [`program`], which runs a program and
//! ends it, [`spread`], which sums up, and [`table`]. Nothing that was started is left
//! behind, also after a failure or Ctrl-C: [`interrupt`] and [`orphans`] see to that.
#![forbid(unsafe_code)]

mod client;
mod connections;
mod debian;
mod dispatch;
mod interrupt;
mod manager;
mod origin;
mod orphans;
mod pm2;
mod ports;
mod program;
mod reload;
mod runs;
mod simulate;
mod spread;
mod table;
mod tools;
mod usage;

use std::io::Write;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures Forkyard against its peers, and prints a table. Builds Forkyard first.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    benchmark: Option<Benchmark>,

    /// Without a word, it is `connections`.
    #[command(flatten)]
    connections: connections::Args,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    Connections(connections::Args),
    Dispatch(dispatch::Args),
    Manager(manager::Args),
    Reload(reload::Args),
    Simulate(simulate::Args),
}

fn main() -> Result<()> {
    let args = Args::parse();
    let benchmark = args.benchmark.unwrap_or(Benchmark::Connections(args.connections));
    interrupt::watch()?;
    orphans::adopt()?;
    let outcome = match benchmark {
        Benchmark::Connections(args) => connections::run(&args),
        Benchmark::Dispatch(args) => dispatch::run(&args),
        Benchmark::Manager(args) => manager::run(&args),
        Benchmark::Reload(args) => reload::run(&args),
        Benchmark::Simulate(args) => simulate::run(&args),
    };
    let ended = orphans::end_all();
    outcome.and(ended)
}

/// Progress goes to stderr, so that stdout is the table and nothing else.
fn say(text: &str) {
    // Nobody may be reading any more.
    let _ = writeln!(std::io::stderr().lock(), "bench: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_fit_together() {
        Args::command().debug_assert();
    }
}
