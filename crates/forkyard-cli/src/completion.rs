//! What a shell is told when somebody presses Tab.
//!
//! ```text
//!   forkyard completions bash ──▶ a few lines of shell, which at each Tab run
//!   FORKYARD_COMPLETE=bash forkyard -- forkyard stop w<Tab> ──▶ web, worker-jobs
//! ```
//!
//! Whoever presses Tab waits: nothing is asked of any app, only folders are looked at.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;

use clap::builder::ValueHint;
use clap::{Arg, Command, CommandFactory};
use clap_complete::CompleteEnv;
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use forkyard_control::folder::{parse_socket_name, runtime_dirs};

use crate::args::Args;
use crate::home;
use crate::records::Store;

/// The variable by which a shell asks. The usual one, `COMPLETE`, may be anybody's.
pub(crate) const VARIABLE: &str = "FORKYARD_COMPLETE";

/// Answers a shell, if that is who asks. Ends the process then.
pub(crate) fn answer() {
    if std::env::var_os(VARIABLE).is_some() {
        CompleteEnv::with_factory(command).var(VARIABLE).complete();
    }
}

/// The command line, with what completes it.
fn command() -> Command {
    let with_apps = |verb: Command| verb.mut_args(completed);
    Args::command().mut_subcommands(with_apps)
}

fn completed(arg: Arg) -> Arg {
    match takes(&arg) {
        Takes::App => arg.add(ArgValueCompleter::new(apps)),
        Takes::Target => arg.add(ArgValueCompleter::new(targets)),
        Takes::Program => arg.value_hint(ValueHint::AnyPath),
        Takes::Other => arg,
    }
}

/// What an argument is, by what its users call it.
enum Takes {
    App,
    /// A program, a settings file or an app.
    Target,
    Program,
    Other,
}

fn takes(arg: &Arg) -> Takes {
    let shown = arg.get_value_names().unwrap_or_default();
    let is_shown = |name: &str| shown.iter().any(|shown| shown.as_str() == name);
    match arg.get_id().as_str() {
        "app" | "apps" => Takes::App,
        "program" => Takes::Program,
        _ if is_shown("APP") => Takes::App,
        _ if is_shown("TARGET") => Takes::Target,
        _ => Takes::Other,
    }
}

fn targets(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut candidates = apps(current);
    candidates.extend(PathCompleter::any().complete(current));
    candidates
}

fn apps(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let names = names().into_iter().filter(|name| name.starts_with(current));
    names.map(CompletionCandidate::new).collect()
}

/// What an app may be meant by: its own name, its groups', `all`.
fn names() -> BTreeSet<String> {
    let mut names = running();
    if let Some(store) = home::present().map(|home| Store::at(&home)) {
        let kept = store.names().unwrap_or_default();
        let records = kept.iter().filter_map(|name| store.load(name).ok().flatten());
        names.extend(records.flat_map(|record| record.settings.groups));
        names.extend(kept);
    }
    if names.len() > 1 {
        names.insert("all".to_owned());
    }
    names
}

/// By their sockets. A socket that a killed primary has left behind is nobody's.
fn running() -> BTreeSet<String> {
    let folders = runtime_dirs().into_iter().filter_map(|folder| fs::read_dir(folder).ok());
    let sockets = folders.flatten().flatten().map(|entry| entry.path());
    let apps = sockets.filter_map(|path| parse_socket_name(&path));
    let is_there = |pid: u32| fs::exists(format!("/proc/{pid}")).unwrap_or(true);
    apps.filter(|(_, pid)| is_there(*pid)).map(|(app, _)| app).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of each command, the argument that is completed.
    #[test]
    fn whoever_takes_an_app_completes_it() {
        let command = command();
        let completes = |verb: &str| {
            let verb = command.find_subcommand(verb).unwrap();
            verb.get_arguments().any(|arg| arg.get::<ArgValueCompleter>().is_some())
        };
        for verb in [
            "start", "ls", "show", "stop", "restart", "reload", "scale", "delete", "signal",
            "flush", "upgrade", "logs", "run",
        ] {
            assert!(completes(verb), "{verb}");
        }
        assert!(!completes("demo"));
    }
}
