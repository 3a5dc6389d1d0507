//! The command `forkyard`.
#![forbid(unsafe_code)]
// Output goes through one place, so that it can be prefixed and formatted.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod answers;
mod apps;
mod args;
mod background;
mod belongings;
mod commands;
mod condition;
mod console;
mod control;
mod demo;
mod directory;
mod env_file;
mod exit_code;
mod find;
mod footprint;
mod home;
mod import;
mod interpreter;
mod kept;
mod kept_logs;
mod keys;
mod launch;
mod limits;
mod log;
mod logs;
mod names;
mod note;
mod planning;
mod records;
mod reload;
mod report;
mod run;
mod scale;
mod settings;
mod signals;
mod sink;
mod subject;
mod terminal;
mod triggers;
mod units;
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
    forkyard_sys::footprint::share_one_heap();
    kept::enter_environment();
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
            run::run(&run, inherited, signals, &reporter)
        }
        (Verb::Demo(options), Some(signals)) => {
            demo::demo(&options, signals, &reporter(options.log_format)?)
        }
        (verb, _) => {
            log::start(verb.log_format(), std::io::stderr);
            ask(&verb)
        }
    }
}

/// Whoever only asks for something.
fn ask(verb: &Verb) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Start(options) => commands::start(options),
        Verb::Ls(options) => commands::list(options),
        Verb::Show(options) => commands::show(options),
        Verb::Stop(options) => commands::stop(options),
        Verb::Restart(options) => commands::restart(options),
        Verb::Reload(targets) => commands::reload(targets),
        Verb::Scale(options) => commands::scale(options),
        Verb::Delete(options) => commands::delete(options),
        Verb::Signal(options) => commands::signal(options),
        Verb::Flush(targets) => commands::flush(targets),
        Verb::Save(options) => commands::save(options),
        Verb::Resurrect(options) => commands::resurrect(options),
        Verb::Upgrade(targets) => commands::upgrade(targets),
        Verb::Import(options) => import::import(options),
        Verb::Logs(options) => kept_logs::show(options),
        Verb::Run(_) | Verb::Demo(_) => Ok(ExitCode::SUCCESS),
    }
}

/// What a primary says goes one way, its thoughts included: none of it may block.
fn reporter(format: LogFormat) -> Result<Reporter, Failure> {
    let reporter =
        Reporter::start(format).map_err(|error| Failure::unexpected("failed to start", &error))?;
    let writer = reporter.clone();
    log::start(format, move || writer.clone());
    Ok(reporter)
}
