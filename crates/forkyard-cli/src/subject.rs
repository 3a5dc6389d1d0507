//! What `forkyard run` runs: a program that was named, or an app that is kept.

use std::sync::Arc;

use forkyard::Outcome;

use crate::args::Run;
use crate::directory;
use crate::exit_code::Failure;
use crate::kept::Kept;
use crate::launch::Launch;
use crate::logs::LogRules;
use crate::records::End;
use crate::report::{self, Reporter};
use crate::settings::Unsaid;
use crate::watch::Ended;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// Named by its program.
    Named(Arc<Launch>),
    /// Kept under a name.
    Kept(Kept),
}

impl Subject {
    pub(crate) fn of(run: &Run) -> Result<Self, Failure> {
        match run.app_name() {
            Some(_) if run.has_settings() => Err(Failure::usage(
                "failed to use settings on the command line: the app has its own, from when it was \
                 started; change them by `forkyard start`, or in its settings file"
                    .into(),
            )),
            Some(name) => Kept::of(name).map(Self::Kept),
            None => {
                let launch = Launch::of(run.name.clone(), run.settings(), directory::start()?)?;
                Ok(Self::Named(Arc::new(launch)))
            }
        }
    }

    /// What it is now.
    pub(crate) fn launch(&self) -> Result<Launch, Failure> {
        match self {
            Self::Named(launch) => Ok(Launch::clone(launch)),
            Self::Kept(kept) => kept.launch(),
        }
    }

    /// What it is now; if its settings file is no good any more, what it was when it last came up.
    pub(crate) fn first_launch(&self, reporter: &Reporter) -> Result<Launch, Failure> {
        match (self, self.launch()) {
            (Self::Kept(kept), Err(failure)) => {
                let launch = kept.former_launch()?;
                reporter.warning(format!("{failure}\nthe settings from the last start are used"));
                Ok(launch)
            }
            (_, launch) => launch,
        }
    }

    /// What its logs are like. Nobody sees the streams of an app that is kept.
    pub(crate) fn log_rules(&self, launch: &Launch) -> Result<LogRules, Failure> {
        let unsaid = match self {
            Self::Named(_) => Unsaid::Streams,
            Self::Kept(kept) => Unsaid::Files(kept.log_dir()),
        };
        let rules = launch.app().log.rules(&unsaid, launch.start());
        rules.map_err(|why| Failure::usage(format!("failed to keep logs: {why}")))
    }

    /// That is how it ended, for whoever looks at it afterwards.
    pub(crate) fn ended(&self, ended: &Result<Ended, Failure>, reporter: &Reporter) {
        let Self::Kept(kept) = self else { return };
        if let Err(failure) = kept.ended(&end_of(ended)) {
            reporter.warning(failure.to_string());
        }
    }
}

fn end_of(ended: &Result<Ended, Failure>) -> End {
    let (code, reason, stderr_tail) = match ended {
        Ok(ended) => (ended.code, in_words(&ended.outcome), ended.stderr_tail.clone()),
        Err(failure) => (failure.number(), failure.to_string(), Vec::new()),
    };
    End { pid: std::process::id(), code, time: report::now(), reason, stderr_tail }
}

fn in_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Stopped => "stopped".to_owned(),
        Outcome::Finished { .. } => "every worker is done".to_owned(),
        Outcome::Failed(reason) => report::given_up(reason),
    }
}
