//! `forkyard reload` and `forkyard upgrade`: ask a running app for something, and wait for the
//! end.

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use forkyard_control::client::{Client, ClientError, Found, find};
use forkyard_control::folder::{file_name, runtime_dirs};
use forkyard_control::types::{Update, UpgradeOutcome, WorkerRef};
use serde::Serialize;

use crate::args::{Ask, LogFormat};
use crate::exit_code::Failure;
use crate::report;

/// From how alike a name is on it may be a slip of the pen: 1 is the same, 0 has nothing in common.
const ALIKE: f64 = 0.5;

/// Has the app reload.
pub(crate) fn reload(options: &Ask) -> Result<ExitCode, Failure> {
    let answers = Answers(options.log_format());
    asking(async {
        let app = Client::of(app(options).await?);
        let outcome = app.reload(|update| answers.progress(update)).await;
        let outcome = outcome.map_err(|error| broken_off("failed to reload", &error))?;
        answers.outcome(&outcome, &reloaded(&outcome));
        match &outcome {
            Update::Failed { worker, reason, stderr_tail } => {
                let what = format!("the reload failed: {}{reason}", subject(*worker));
                Err(Failure::not_done(answers.with_tail(what, stderr_tail)))
            }
            Update::Refused { reason } => {
                Err(Failure::not_done(format!("the reload was refused: {reason}")))
            }
            // The client returns none that is not the last.
            Update::Finished { .. }
            | Update::Progress { .. }
            | Update::Waiting
            | Update::Unknown => Ok(ExitCode::SUCCESS),
        }
    })
}

/// Has the app's primary execute the next version of its program.
pub(crate) fn upgrade(options: &Ask) -> Result<ExitCode, Failure> {
    let answers = Answers(options.log_format());
    asking(async {
        let app = app(options).await?;
        let pid = app.pid;
        let outcome = Client::of(app).upgrade(|update| answers.progress(update)).await;
        let outcome = outcome.map_err(|error| broken_off("failed to upgrade", &error))?;
        answers.outcome(&outcome, &upgraded(pid, &outcome));
        match &outcome {
            UpgradeOutcome::Finished { .. } => Ok(ExitCode::SUCCESS),
            UpgradeOutcome::Failed { reason, stderr_tail } => {
                let what = format!("the upgrade failed, and has changed nothing: {reason}");
                Err(Failure::not_done(answers.with_tail(what, stderr_tail)))
            }
            UpgradeOutcome::Unknown => Err(Failure::not_done(
                "the upgrade ended in a way that only a newer forkyard has a word for".to_owned(),
            )),
        }
    })
}

fn asking(
    conversation: impl Future<Output = Result<ExitCode, Failure>>,
) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unexpected("failed to start", &error))?;
    runtime.block_on(conversation)
}

/// The app that is meant.
async fn app(options: &Ask) -> Result<Found, Failure> {
    let found = find(&runtime_dirs())
        .await
        .map_err(|error| Failure::unexpected("failed to look for running apps", &error))?;
    choose(found, options.app.as_deref())
}

/// Why there is no outcome.
fn broken_off(what: &str, error: &ClientError) -> Failure {
    match error {
        ClientError::Denied(_)
        | ClientError::Misasked(_)
        | ClientError::Unknown { .. }
        | ClientError::NotBegun { .. } => Failure::not_done(format!("{what}: {error}")),
        _ => Failure::unexpected(what, error),
    }
}

/// What is printed on stdout while the app answers. Failures are the command's, on stderr.
#[derive(Clone, Copy, Debug)]
struct Answers(LogFormat);

impl Answers {
    fn progress(self, update: &Update) {
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

    fn outcome(self, outcome: &impl Serialize, text: &str) {
        self.print(outcome, text);
    }

    /// A program may be waiting for each line. That nobody reads keeps nobody from waiting for
    /// the end.
    fn print(self, answer: &impl Serialize, text: &str) {
        let mut out = anstream::stdout().lock();
        let _ = match self.0 {
            LogFormat::Text if text.is_empty() => Ok(()),
            LogFormat::Text => writeln!(out, "{text}"),
            LogFormat::Json => {
                let line = serde_json::to_string(answer).unwrap_or_default();
                writeln!(out, "{line}")
            }
        };
        let _ = out.flush();
    }

    /// Machines have it as a field of the outcome.
    fn with_tail(self, text: String, tail: &[String]) -> String {
        match self.0 {
            LogFormat::Text => report::with_tail(text, tail),
            LogFormat::Json => text,
        }
    }
}

fn reloaded(outcome: &Update) -> String {
    match outcome {
        Update::Finished { took_ms } => {
            format!("reload finished after {}", report::shown(Duration::from_millis(*took_ms)))
        }
        _ => String::new(),
    }
}

fn upgraded(pid: u32, outcome: &UpgradeOutcome) -> String {
    match outcome {
        UpgradeOutcome::Finished { version, pause_ms } => {
            format!("primary {pid} runs forkyard {version} now, after {pause_ms} ms of pause")
        }
        UpgradeOutcome::Failed { .. } | UpgradeOutcome::Unknown => String::new(),
    }
}

fn subject(worker: Option<WorkerRef>) -> String {
    let shown = |worker: WorkerRef| format!("worker {} in slot {} ", worker.worker, worker.slot);
    worker.map_or_else(String::new, shown)
}

/// By process id or by name; the only one there is, if none is named.
fn choose(mut found: Vec<Found>, named: Option<&str>) -> Result<Found, Failure> {
    let Some(named) = named else {
        return match found.len() {
            0 => Err(Failure::no_such_app("no app is running".into())),
            1 => Ok(found.remove(0)),
            _ => Err(Failure::no_such_app(format!(
                "several apps are running; name one: {}",
                listed(&found)
            ))),
        };
    };
    if let Some(at) = found.iter().position(|app| app.pid.to_string() == named) {
        return Ok(found.remove(at));
    }
    let wanted = file_name(named);
    let (mut fitting, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|app| app.app == wanted);
    match fitting.len() {
        0 => Err(Failure::no_such_app(unknown(named, &others))),
        1 => Ok(fitting.remove(0)),
        _ => Err(Failure::no_such_app(format!(
            "several apps named {named:?} are running; name one by its process id: {}",
            listed(&fitting)
        ))),
    }
}

fn unknown(named: &str, running: &[Found]) -> String {
    let likeness =
        |app: &Found| strsim::normalized_damerau_levenshtein(&app.app, &file_name(named));
    let nearest = running.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match (nearest, nearest.filter(|app| likeness(app) >= ALIKE)) {
        (None, _) => format!("no app {named:?} is running; none is"),
        (_, Some(nearest)) => format!(
            "no app {named:?} is running; did you mean {:?}? There are {}",
            nearest.app,
            listed(running)
        ),
        _ => format!("no app {named:?} is running; there are {}", listed(running)),
    }
}

fn listed(apps: &[Found]) -> String {
    let shown: Vec<_> = apps.iter().map(|app| format!("{} ({})", app.app, app.pid)).collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apps(apps: &[(&str, u32)]) -> Vec<Found> {
        let found = |(app, pid): &(&str, u32)| Found {
            app: (*app).to_owned(),
            pid: *pid,
            path: format!("/run/{app}.{pid}.sock").into(),
        };
        apps.iter().map(found).collect()
    }

    #[test]
    fn an_app_is_chosen_by_name_by_process_id_or_because_it_is_the_only_one() {
        let two = || apps(&[("web", 7), ("jobs", 8)]);
        assert_eq!(choose(two(), Some("jobs")).unwrap().pid, 8);
        assert_eq!(choose(two(), Some("7")).unwrap().app, "web");
        assert_eq!(choose(apps(&[("8", 7), ("jobs", 8)]), Some("8")).unwrap().app, "jobs");
        assert_eq!(choose(apps(&[("web", 7)]), None).unwrap().pid, 7);
        assert_eq!(choose(apps(&[("my_app", 7)]), Some("my app")).unwrap().pid, 7);
    }

    #[test]
    fn what_cannot_be_chosen_is_said_with_what_there_is() {
        let message = |found, named| choose(found, named).unwrap_err().to_string();
        let two = || apps(&[("web", 7), ("jobs", 8)]);
        assert_eq!(
            message(two(), Some("wbe")),
            "no app \"wbe\" is running; did you mean \"web\"? There are web (7), jobs (8)"
        );
        assert_eq!(
            message(two(), Some("shop")),
            "no app \"shop\" is running; there are web (7), jobs (8)"
        );
        assert_eq!(message(Vec::new(), Some("web")), "no app \"web\" is running; none is");
        assert_eq!(message(Vec::new(), None), "no app is running");
        assert_eq!(message(two(), None), "several apps are running; name one: web (7), jobs (8)");
        assert_eq!(
            message(apps(&[("web", 7), ("web", 9)]), Some("web")),
            "several apps named \"web\" are running; name one by its process id: web (7), web (9)"
        );
    }
}
