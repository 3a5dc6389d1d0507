//! `forkyard reload`: asks a running app for its next generation, and waits for the end.

use std::process::ExitCode;

use forkyard_control::client::{Client, Found, find};
use forkyard_control::folder::{file_name, runtime_dir};
use forkyard_control::types::{Update, Worker};

use crate::args::{LogFormat, Reload};
use crate::exit_code::Failure;
use crate::report::{self, Reporter};

/// Has the app reload.
pub(crate) fn reload(options: &Reload, reporter: &Reporter) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unexpected("failed to start", &error))?;
    runtime.block_on(async {
        let found = find(&runtime_dir())
            .await
            .map_err(|error| Failure::unexpected("failed to look for running apps", &error))?;
        let app = choose(found, options.app.as_deref())?;
        let outcome = Client::of(app.path).reload(|update| reporter.update(update)).await;
        reporter.finish().await;
        let outcome = outcome.map_err(|error| Failure::unexpected("failed to reload", &error))?;
        match outcome {
            Update::Failed { worker, reason, stderr_tail } => {
                Err(Failure::not_reloaded(why(worker, &reason, &stderr_tail, options.log_format)))
            }
            Update::Refused { reason } => {
                Err(Failure::not_reloaded(format!("the reload was refused: {reason}")))
            }
            Update::Finished { .. } | Update::Progress { .. } | Update::Waiting => {
                Ok(ExitCode::SUCCESS)
            }
        }
    })
}

fn why(worker: Option<Worker>, reason: &str, tail: &[String], format: LogFormat) -> String {
    let mut text = match worker {
        Some(worker) => {
            format!("the reload failed: worker {} in slot {} {reason}", worker.worker, worker.slot)
        }
        None => format!("the reload failed: {reason}"),
    };
    if format == LogFormat::Text {
        text = report::with_tail(text, tail);
    }
    text
}

/// By name or process id; the only one there is, if none is named.
fn choose(found: Vec<Found>, named: Option<&str>) -> Result<Found, Failure> {
    let wanted = named.map(file_name);
    let fits = |app: &Found| {
        let by_pid = named.is_some_and(|named| named == app.pid.to_string());
        by_pid || wanted.as_ref().is_none_or(|wanted| *wanted == app.app)
    };
    let (mut fitting, others): (Vec<_>, Vec<_>) = found.into_iter().partition(fits);
    match (fitting.len(), named) {
        (1, _) => Ok(fitting.remove(0)),
        (0, None) => Err(Failure::no_such_app("no app is running".into())),
        (0, Some(named)) => Err(Failure::no_such_app(format!(
            "no app {named:?} is running; {}",
            match others.is_empty() {
                true => "none is".to_owned(),
                false => format!("there are {}", listed(&others)),
            }
        ))),
        (_, named) => Err(Failure::no_such_app(format!(
            "{} running; name one by its process id: {}",
            named.map_or_else(
                || "several apps are".to_owned(),
                |named| format!("several apps named {named:?} are")
            ),
            listed(&fitting)
        ))),
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
        assert_eq!(choose(apps(&[("web", 7)]), None).unwrap().pid, 7);
        assert_eq!(choose(apps(&[("my_app", 7)]), Some("my app")).unwrap().pid, 7);
    }

    #[test]
    fn what_cannot_be_chosen_is_said_with_what_there_is() {
        let message = |found, named| choose(found, named).unwrap_err().to_string();
        let two = || apps(&[("web", 7), ("jobs", 8)]);
        assert_eq!(
            message(two(), Some("wbe")),
            "no app \"wbe\" is running; there are web (7), jobs (8)"
        );
        assert_eq!(message(Vec::new(), Some("web")), "no app \"web\" is running; none is");
        assert_eq!(message(Vec::new(), None), "no app is running");
        assert_eq!(
            message(two(), None),
            "several apps are running; name one by its process id: web (7), jobs (8)"
        );
        assert_eq!(
            message(apps(&[("web", 7), ("web", 9)]), Some("web")),
            "several apps named \"web\" are running; name one by its process id: web (7), web (9)"
        );
    }
}
