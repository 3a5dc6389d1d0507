//! The command `forkyard`.
#![forbid(unsafe_code)]
// Output goes through one place, so that it can be prefixed and formatted.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod ask;
mod boot;
mod commands;
mod console;
mod control;
mod demo;
mod directory;
mod env_file;
mod exit_code;
mod find;
mod interpreter;
mod keys;
mod launch;
mod log;
mod note;
mod planning;
mod reload;
mod report;
mod run;
mod signals;
mod sink;
mod terminal;
mod upgrade;
mod version;
mod watch;

use std::process::ExitCode;

use clap::Parser;
use forkyard::InheritedFds;

use args::{Args, LogFormat, Verb};
use exit_code::Failure;
use report::Reporter;
use signals::HeldSignals;

fn main() -> ExitCode {
    // A worker of the demo is an ordinary program, and so is whoever only asks for something.
    if forkyard::is_worker() || !is_primary() {
        return command(None);
    }
    let signals = HeldSignals::hold();
    // Also without signals: a former image may have to be gone back to.
    forkyard::host(move || match signals {
        Ok(signals) => command(Some(signals)),
        Err(error) => {
            let failure = Failure::unexpected("failed to listen for signals", &error);
            fail(LogFormat::Text, &failure)
        }
    })
}

/// Whether this process is to run an app. It has to be known before there is another thread.
fn is_primary() -> bool {
    let verb = std::env::args_os().nth(1);
    verb.is_some_and(|verb| verb == "run" || verb == "demo")
}

/// What is done by the command, in the end with this code. Always returns: a primary's former
/// image may have to be gone back to.
fn command(signals: Option<HeldSignals>) -> ExitCode {
    let verb = match Args::try_parse() {
        Ok(args) => args.verb,
        Err(error) => {
            // There is nobody else to be told.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX));
        }
    };
    let format = verb.log_format();
    obey(verb, signals).unwrap_or_else(|failure| fail(format, &failure))
}

fn fail(format: LogFormat, failure: &Failure) -> ExitCode {
    anstream::eprint!("{}", report::failure(format, failure));
    failure.code()
}

fn obey(verb: Verb, signals: Option<HeldSignals>) -> Result<ExitCode, Failure> {
    match (verb, signals) {
        (Verb::Demo(options), None) => {
            log::start(LogFormat::Text, std::io::stderr);
            demo::work(options.port)
        }
        (Verb::Run(run), signals) => {
            let signals = signals.map_or_else(HeldSignals::hold, Ok);
            let signals = signals
                .map_err(|error| Failure::unexpected("failed to listen for signals", &error))?;
            let reporter = reporter(run.log_format)?;
            // Before anything that is not Rust could have opened a descriptor. As a worker
            // the demo has its channel among them, and takes it itself.
            let inherited = InheritedFds::take().map_err(|error| {
                Failure::unexpected("failed to look for inherited sockets", &error)
            })?;
            run::run(&run, inherited, signals, &reporter).inspect_err(boot::tell_failure)
        }
        (Verb::Reload(options), _) => {
            log::start(options.log_format(), std::io::stderr);
            ask::reload(&options)
        }
        (Verb::Upgrade(options), _) => {
            log::start(options.log_format(), std::io::stderr);
            ask::upgrade(&options)
        }
        (Verb::Startup(options), _) => {
            log::start(LogFormat::Text, std::io::stderr);
            commands::startup(&options)
        }
        (Verb::Unstartup(options), _) => {
            log::start(LogFormat::Text, std::io::stderr);
            commands::unstartup(&options)
        }
        (Verb::Demo(options), Some(signals)) => {
            demo::demo(&options, signals, &reporter(options.log_format)?)
        }
    }
}

/// What a primary says goes one way, its thoughts included: none of it may block.
fn reporter(format: LogFormat) -> Result<Reporter, Failure> {
    let reporter =
        Reporter::start(format).map_err(|error| Failure::unexpected("failed to start", &error))?;
    let console = reporter.console().clone();
    log::start(format, move || console.clone());
    Ok(reporter)
}
