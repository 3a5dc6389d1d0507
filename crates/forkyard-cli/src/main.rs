//! The command `forkyard`.
#![forbid(unsafe_code)]
// Output goes through one place, so that it can be prefixed and formatted.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod demo;
mod exit_code;
mod launch;
mod report;
mod run;
mod signals;
mod sink;

use std::process::ExitCode;

use clap::Parser;
use forkyard::InheritedFds;

use args::{Args, Verb};
use exit_code::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    trace();
    let done = match args.verb {
        // Before anything that is not Rust could have opened a descriptor. As a worker the
        // demo has its channel among them, and takes it itself.
        Verb::Run(run) => InheritedFds::take()
            .map_err(|error| Failure::unexpected("failed to look for inherited sockets", &error))
            .and_then(|inherited| run::run(&run, inherited)),
        Verb::Demo(options) => demo::demo(&options),
    };
    done.unwrap_or_else(|failure| {
        anstream::eprintln!("forkyard: {failure}");
        failure.code()
    })
}

/// What the program thinks to itself, for whoever looks for a fault: `FORKYARD_LOG=debug`.
fn trace() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_env_var("FORKYARD_LOG")
        .with_default_directive(tracing_subscriber::filter::LevelFilter::WARN.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .init();
}
