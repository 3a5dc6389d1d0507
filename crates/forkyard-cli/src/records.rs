//! What was started under a name, kept so that it can be listed, started again, and compared.
//!
//! ```text
//!   HOME ── apps/NAME.json    the record: settings, directory, environment, what is wanted
//!        ├─ ends/NAME.json    how the last primary ended, written by itself
//!        ├─ locks/NAME.lock   held by a command that starts, stops or deletes the app
//!        └─ saved.json        the records of what ran when `forkyard save` was called
//! ```
//!
//! Whether an app runs is not written here: its control socket tells. All files are this user's alone,
//! and appear in one piece.

mod end;
mod store;

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use end::End;
pub(crate) use store::Store;

use crate::settings::App;

/// The format that this version writes.
const FORMAT: u32 = 1;

/// What was started under a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) format: u32,
    /// The app's name.
    pub(crate) name: String,
    /// The settings file it comes from; none if it was named on the command line.
    #[serde(default)]
    pub(crate) origin: Option<Origin>,
    /// The settings, as they were when the app last came up with them.
    pub(crate) settings: App,
    /// Where relative paths lead from.
    pub(crate) directory: PathBuf,
    /// The variables of whoever started it.
    pub(crate) environment: BTreeMap<String, String>,
    /// Whether it is meant to run.
    pub(crate) wanted: Wanted,
    /// How many workers somebody has asked for since.
    #[serde(default)]
    pub(crate) scaled: Option<Scaled>,
}

/// A settings file, and which of its environments was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) file: PathBuf,
    #[serde(default)]
    pub(crate) environment: Option<String>,
}

/// Whether an app is meant to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wanted {
    Running,
    Stopped,
}

/// A number of workers that holds as long as the settings say what they said by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scaled {
    /// What the settings said.
    pub(crate) instead_of: Option<String>,
    /// What holds.
    pub(crate) workers: usize,
}

impl Record {
    /// For an app that is started now, from here.
    pub(crate) fn new(name: &str, settings: App, directory: PathBuf) -> Self {
        Self {
            format: FORMAT,
            name: name.to_owned(),
            origin: None,
            settings,
            directory,
            environment: present_environment(),
            wanted: Wanted::Running,
            scaled: None,
        }
    }

    /// The settings with the number of workers that holds.
    pub(crate) fn with_scale(&self, settings: App) -> App {
        let said = settings.workers.as_ref().map(ToString::to_string);
        match &self.scaled {
            Some(scaled) if scaled.instead_of == said => {
                let workers = scaled.workers.to_string().parse().ok();
                App { workers: workers.or(settings.workers), ..settings }
            }
            _ => settings,
        }
    }

    /// Somebody wants so many workers, whatever the settings say now.
    pub(crate) fn scale(&mut self, workers: usize) {
        let instead_of = self.settings.workers.as_ref().map(ToString::to_string);
        self.scaled = Some(Scaled { instead_of, workers });
    }
}

/// The environment to start an app in: its own variables, and what this very process was told.
pub(crate) fn environment_of(record: &Record) -> BTreeMap<String, String> {
    let own = text_environment().into_iter().filter(|(name, _)| is_of_one_process(name));
    record.environment.clone().into_iter().chain(own).collect()
}

/// This process's environment. What of it is not text cannot be kept.
pub(crate) fn text_environment() -> BTreeMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    env::vars_os().filter_map(text).collect()
}

/// What of it is an app's that is started from here.
fn present_environment() -> BTreeMap<String, String> {
    text_environment().into_iter().filter(|(name, _)| !is_of_one_process(name)).collect()
}

/// What is said to one process, or one session, and not to an app for good.
fn is_of_one_process(name: &str) -> bool {
    const NAMES: [&str; 14] = [
        "_",
        "SHLVL",
        "PWD",
        "OLDPWD",
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "LISTEN_PID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "FORKYARD_HOME",
        "FORKYARD_RUNTIME_DIR",
    ];
    NAMES.contains(&name) || name.starts_with("NODE_CHANNEL_") || name == "NODE_UNIQUE_ID"
}

#[cfg(test)]
mod tests;
