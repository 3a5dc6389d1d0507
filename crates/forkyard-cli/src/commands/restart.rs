//! `forkyard restart`: the whole app ended and started again, or one worker replaced.

use std::process::ExitCode;

use clap::Parser;
use forkyard_control::types::Stage;

use super::Targets;
use super::stop::stop_one;
use crate::answers::{Answers, broken_off};
use crate::apps::KnownApp;
use crate::background::{Background, Patience};
use crate::exit_code::Failure;
use crate::records::Store;

/// What `forkyard restart` can be told.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Restart {
    #[command(flatten)]
    pub(crate) targets: Targets,

    /// Only the worker in this slot, with its successor started first
    #[arg(long, value_name = "N")]
    slot: Option<u32>,

    /// Do not wait until the app is ready
    #[arg(long)]
    no_wait: bool,
}

/// Ends each app and starts it again, with everything as it is on disk now; nobody is served in
/// between. With a slot, nobody notices.
pub(crate) fn restart(options: &Restart) -> Result<ExitCode, Failure> {
    let patience = if options.no_wait { Patience::None } else { Patience::UntilReady };
    options.targets.each(async |app, answers| match options.slot {
        Some(slot) => replace(&app, slot, &answers).await,
        None => again(&app, patience, &answers).await,
    })
}

async fn replace(app: &KnownApp, slot: u32, answers: &Answers) -> Result<(), Failure> {
    let outcome = app.running()?.restart(Some(slot), |update| answers.progress(update)).await;
    let outcome = outcome.map_err(|error| broken_off("failed to restart", &error))?;
    answers.outcome("the restart", &outcome)
}

async fn again(app: &KnownApp, patience: Patience, answers: &Answers) -> Result<(), Failure> {
    let Some(record) = app.kept() else {
        return Err(Failure::not_done(format!(
            "{} runs in the foreground of somebody, who alone can start it again; `forkyard \
             reload {}` replaces its workers",
            app.name, app.name
        )));
    };
    let store = Store::open()?;
    stop_one(app, Stage::Disconnect, answers).await?;
    Background { store: &store, patience, answers: answers.clone() }.start(record.clone()).await
}
