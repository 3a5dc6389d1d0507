//! What makes an app reload by itself: files that change, and times that come.
//!
//! ```text
//!   files ──── changes, once it is quiet ──┐
//!                                          ├──▶ Triggers::next ──▶ a reload like any other
//!   clock ──── times, as cron has them ────┘
//! ```
//!
//! Nothing of it outlives an upgrade of the primary: it rests before, and begins afresh in the next
//! image.

mod files;
mod schedule;

use std::path::PathBuf;

use jiff::Zoned;

use crate::report::Reporter;
use files::{Files, News};
pub(crate) use files::{Glob, GlobError, WatchRules, Watched};
use schedule::Scheduler;
pub(crate) use schedule::{Schedule, ScheduleError, ScheduleRules, UnknownZone, Zone};
use schedule::{Turn, Turnout};

/// What an app reloads for by itself; by default nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct TriggerRules {
    /// Files that change.
    pub(crate) watch: WatchRules,
    /// Times that come.
    pub(crate) schedule: ScheduleRules,
}

/// Why an app reloads by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Files have changed: these, from the app's directory on, and so many others.
    Changed { files: Vec<PathBuf>, others: usize },
    /// It is this time, which this schedule has.
    Scheduled { at: Zoned, schedule: Schedule },
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Triggers {
    rules: TriggerRules,
    /// The app's directory, symlinks unresolved.
    directory: PathBuf,
    files: Option<Files>,
    scheduler: Option<Scheduler>,
}

impl Triggers {
    /// At rest.
    pub(crate) fn new(rules: TriggerRules, directory: PathBuf) -> Self {
        Self { rules, directory, files: None, scheduler: None }
    }

    /// For an app that never reloads by itself.
    pub(crate) fn none() -> Self {
        Self::new(TriggerRules::default(), PathBuf::new())
    }

    /// Begins to look. An app for which that fails runs all the same. Needs a runtime at hand.
    pub(crate) fn start(&mut self, reporter: &Reporter) {
        if !self.rules.watch.globs.is_empty() && self.files.is_none() {
            match Files::start(&self.rules.watch, &self.directory) {
                Ok(files) => self.files = Some(files),
                Err(error) => reporter.warning(format!("failed to watch files: {error}")),
            }
        }
        if !self.rules.schedule.times.is_empty() && self.scheduler.is_none() {
            match Scheduler::start(&self.rules.schedule) {
                Ok(scheduler) => self.scheduler = Some(scheduler),
                Err(error) => reporter.warning(format!("failed to keep the schedule: {error}")),
            }
            self.announce(reporter);
        }
    }

    /// Looks no more, until it is started again. Gives what it has seen and not yet told.
    pub(crate) fn rest(&mut self) -> Option<Cause> {
        self.scheduler = None;
        self.files.take().and_then(Files::into_pending)
    }

    /// The next reason to reload. May be dropped while it waits, and nothing is lost.
    pub(crate) async fn next(&mut self, reporter: &Reporter) -> Cause {
        loop {
            let cause = tokio::select! {
                news = news_of(&mut self.files) => heard(news, reporter),
                turn = turn_of(&mut self.scheduler) => {
                    self.announce(reporter);
                    taken(turn, reporter)
                }
            };
            if let Some(cause) = cause {
                return cause;
            }
        }
    }

    fn announce(&self, reporter: &Reporter) {
        if let Some((at, schedule)) = self.scheduler.as_ref().and_then(Scheduler::upcoming) {
            reporter.reload_scheduled(&at, schedule);
        }
    }
}

async fn news_of(files: &mut Option<Files>) -> News {
    match files {
        Some(files) => files.next().await,
        None => std::future::pending().await,
    }
}

async fn turn_of(scheduler: &mut Option<Scheduler>) -> Turn {
    match scheduler {
        Some(scheduler) => scheduler.next().await,
        None => std::future::pending().await,
    }
}

fn heard(news: News, reporter: &Reporter) -> Option<Cause> {
    match news {
        News::Changed(cause) => return Some(cause),
        News::Watching(watched) => reporter.watching(watched),
        News::Trouble(trouble) => reporter.warning(trouble.to_string()),
    }
    None
}

fn taken(turn: Turn, reporter: &Reporter) -> Option<Cause> {
    let Turn { at, schedule, turnout } = turn;
    match turnout {
        Turnout::Due => Some(Cause::Scheduled { at, schedule }),
        Turnout::TooLate => {
            reporter.reload_missed(&at, &schedule);
            None
        }
    }
}
