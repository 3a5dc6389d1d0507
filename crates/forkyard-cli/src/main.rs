//! The command `forkyard`.
#![forbid(unsafe_code)]
// Output goes through one place, so that it can be prefixed and formatted.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod console;
mod demo;
mod directory;
mod env_file;
mod exit_code;
mod find;
mod interpreter;
mod keys;
mod launch;
mod reload;
mod report;
mod run;
mod signals;
mod sink;
mod terminal;

use std::process::ExitCode;

use clap::Parser;
use forkyard::InheritedFds;
use tracing_subscriber::fmt::MakeWriter;

use args::{Args, LogFormat, Verb};
use exit_code::Failure;
use report::Reporter;

fn main() -> ExitCode {
    let verb = Args::parse().verb;
    let format = verb.log_format();
    obey(verb).unwrap_or_else(|failure| {
        anstream::eprint!("{}", report::failure(format, &failure));
        failure.code()
    })
}

fn obey(verb: Verb) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Run(run) => {
            let reporter = reporter(run.log_format)?;
            // Before anything that is not Rust could have opened a descriptor. As a worker
            // the demo has its channel among them, and takes it itself.
            let inherited = InheritedFds::take().map_err(|error| {
                Failure::unexpected("failed to look for inherited sockets", &error)
            })?;
            run::run(&run, inherited, &reporter)
        }
        Verb::Demo(options) if forkyard::is_worker() => {
            trace(std::io::stderr);
            demo::work(options.port)
        }
        Verb::Demo(options) => demo::demo(&options, &reporter(options.log_format)?),
    }
}

/// What a primary says goes one way, its thoughts included: none of it may block.
fn reporter(format: LogFormat) -> Result<Reporter, Failure> {
    let reporter =
        Reporter::start(format).map_err(|error| Failure::unexpected("failed to start", &error))?;
    let console = reporter.console().clone();
    trace(move || console.clone());
    Ok(reporter)
}

/// What the program thinks to itself, for whoever looks for a fault: `FORKYARD_LOG=debug`.
fn trace<W>(writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_env_var("FORKYARD_LOG")
        .with_default_directive(tracing_subscriber::filter::LevelFilter::WARN.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(false)
        .without_time()
        .init();
}
