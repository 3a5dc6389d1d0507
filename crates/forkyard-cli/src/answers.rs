//! What a command prints while apps answer: words for people, one JSON object a line for machines.

use std::io::Write;
use std::time::Duration;

use forkyard_control::client::ClientError;
use forkyard_control::types::{Update, WorkerRef};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::LogFormat;
use crate::exit_code::Failure;
use crate::report;

/// Prints on stdout. Failures are the command's, on stderr.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    format: LogFormat,
    /// Which app answers, if several were asked.
    app: Option<String>,
}

impl Answers {
    pub(crate) fn new(format: LogFormat) -> Self {
        Self { format, app: None }
    }

    /// For what one of several apps answers.
    pub(crate) fn of(&self, app: &str) -> Self {
        Self { format: self.format, app: Some(app.to_owned()) }
    }

    /// For what tells whose it is by itself.
    pub(crate) fn unnamed(&self) -> Self {
        Self::new(self.format)
    }

    pub(crate) fn progress(&self, update: &Update) {
        let text = match update {
            Update::Waiting => "another reload is under way; this one begins after it",
            Update::Progress { text, .. } => text,
            Update::Finished { .. }
            | Update::Failed { .. }
            | Update::Refused { .. }
            | Update::Unknown => "",
        };
        self.print(update, text);
    }

    /// A program may be waiting for each line. That nobody reads keeps nobody from waiting for
    /// the end.
    pub(crate) fn print(&self, answer: &impl Serialize, text: &str) {
        let line = match self.format {
            LogFormat::Text if text.is_empty() => return,
            LogFormat::Text => self.as_text(text),
            LogFormat::Json => self.as_json(answer),
        };
        let mut out = anstream::stdout().lock();
        let _ = out.write_all(line.as_bytes());
        let _ = out.flush();
    }

    /// What has been done, with a word for machines.
    pub(crate) fn done(&self, word: &str, text: &str) {
        self.print(&json!({ "done": word }), text);
    }

    fn as_text(&self, text: &str) -> String {
        let named = |line| match &self.app {
            Some(app) => format!("{app}: {line}\n"),
            None => format!("{line}\n"),
        };
        text.lines().map(named).collect()
    }

    fn as_json(&self, answer: &impl Serialize) -> String {
        let Some(app) = &self.app else {
            return serde_json::to_string(answer).unwrap_or_default() + "\n";
        };
        let mut answer = serde_json::to_value(answer).unwrap_or_default();
        if let Value::Object(fields) = &mut answer {
            fields.insert("app".into(), app.as_str().into());
        }
        format!("{answer}\n")
    }

    /// The end of something that an app was asked for; an error if it came to nothing. `what` is
    /// as in "the reload".
    pub(crate) fn outcome(&self, what: &str, outcome: &Update) -> Result<(), Failure> {
        self.print(outcome, &finished(what, outcome));
        match outcome {
            Update::Failed { worker, reason, stderr_tail } => {
                let text = format!("{what} failed: {}{reason}", subject(*worker));
                Err(Failure::not_done(self.with_tail(text, stderr_tail)))
            }
            Update::Refused { reason } => {
                Err(Failure::not_done(format!("{what} was refused: {reason}")))
            }
            // The client returns none that is not the last.
            Update::Finished { .. }
            | Update::Progress { .. }
            | Update::Waiting
            | Update::Unknown => Ok(()),
        }
    }

    /// Machines have it as a field of the outcome.
    pub(crate) fn with_tail(&self, text: String, tail: &[String]) -> String {
        match self.format {
            LogFormat::Text => report::with_tail(text, tail),
            LogFormat::Json => text,
        }
    }
}

fn finished(what: &str, outcome: &Update) -> String {
    let what = what.strip_prefix("the ").unwrap_or(what);
    match outcome {
        Update::Finished { took_ms } => {
            format!("{what} finished after {}", report::shown(Duration::from_millis(*took_ms)))
        }
        _ => String::new(),
    }
}

fn subject(worker: Option<WorkerRef>) -> String {
    worker
        .map(|worker| format!("worker {} in slot {} ", worker.worker, worker.slot))
        .unwrap_or_default()
}

/// Why there is no outcome.
pub(crate) fn broken_off(what: &str, error: &ClientError) -> Failure {
    match error {
        ClientError::Denied(_)
        | ClientError::Misasked(_)
        | ClientError::Unknown { .. }
        | ClientError::NotBegun { .. } => Failure::not_done(format!("{what}: {error}")),
        _ => Failure::unexpected(what, error),
    }
}
