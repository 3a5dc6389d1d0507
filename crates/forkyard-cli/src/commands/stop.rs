//! `forkyard stop` and `delete`: apps that are to run no more.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use forkyard_control::client::Client;
use forkyard_control::types::Stage;
use serde_json::json;

use super::Targets;
use crate::answers::{Answers, broken_off};
use crate::apps::KnownApp;
use crate::exit_code::Failure;
use crate::records::{Store, Wanted};
use crate::report::shown;

/// How often it is said what is waited for.
const REMINDER: Duration = Duration::from_secs(5);

/// What `forkyard stop` can be told.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(crate) targets: Targets,

    /// Do not let the workers finish what they have: send them their stop signal; twice, kill them
    #[arg(short, long, action = clap::ArgAction::Count)]
    force: u8,
}

/// What `forkyard delete` can be told.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) targets: Targets,

    /// Remove the app's log files too
    #[arg(long)]
    logs: bool,
}

/// Stops each app, and waits for its end. It stays known, and can be started again.
pub(crate) fn stop(options: &Stop) -> Result<ExitCode, Failure> {
    let stage = match options.force {
        0 => Stage::Disconnect,
        1 => Stage::Terminate,
        _ => Stage::Kill,
    };
    options.targets.each(async |app, answers| stop_one(&app, stage, &answers).await)
}

/// Stops each app and forgets it.
pub(crate) fn delete(options: &Delete) -> Result<ExitCode, Failure> {
    options.targets.each(async |app, answers| {
        let store = Store::open()?;
        let _lock = store.lock(&app.name)?;
        if let Some(client) = app.client() {
            end(&client, Stage::Disconnect, &answers).await?;
        }
        store.remove(&app.name)?;
        if options.logs {
            remove_logs(&store, &app.name)?;
        }
        answers.done("deleted", &format!("{} is deleted", app.name));
        Ok(())
    })
}

fn remove_logs(store: &Store, name: &str) -> Result<(), Failure> {
    let dir = crate::home::log_dir(store.home(), name);
    match std::fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::unexpected(&format!("failed to remove {}", dir.display()), &error))
        }
        _ => Ok(()),
    }
}

/// Whatever becomes of it, it is not to come back by itself.
pub(crate) async fn stop_one(
    app: &KnownApp,
    stage: Stage,
    answers: &Answers,
) -> Result<(), Failure> {
    let store = app.kept().map(|_| Store::open()).transpose()?;
    let _lock = store.as_ref().map(|store| store.lock(&app.name)).transpose()?;
    if let (Some(store), Some(record)) = (&store, app.kept()) {
        let mut record = record.clone();
        record.wanted = Wanted::Stopped;
        store.keep(&record)?;
    }
    match app.client() {
        Some(client) => end(&client, stage, answers).await,
        None => {
            answers.done("stopped", &format!("{} does not run", app.name));
            Ok(())
        }
    }
}

/// Stops it and waits until its process has ended.
pub(crate) async fn end(client: &Client, stage: Stage, answers: &Answers) -> Result<(), Failure> {
    let (started, name) = (Instant::now(), &client.primary().app);
    let failed = |error| broken_off("failed to stop", &error);
    // Watched from before, so that the number cannot be somebody else's by then.
    let ending = client.ending().await.map_err(failed)?;
    client.stop(stage).await.map_err(failed)?;
    while !ending.ended_within(REMINDER).await {
        let waited = shown(started.elapsed());
        let text =
            format!("{name} has not ended for {waited}; `forkyard stop --force {name}` hurries it");
        answers.print(&json!({ "waiting": "end" }), &text);
    }
    answers.done("stopped", &format!("{name} stopped after {}", shown(started.elapsed())));
    Ok(())
}
