//! `forkyard reload`, `restart --slot` and `upgrade`: what running apps do at once.

use std::process::ExitCode;

use forkyard_control::types::UpgradeOutcome;

use super::Targets;
use super::renewal::Renewal;
use crate::answers::{Answers, broken_off};
use crate::apps::KnownApp;
use crate::exit_code::Failure;

/// Has each app replace its workers by those of the next generation. What of its settings file
/// concerns the primary, it reads by executing itself again.
pub(crate) fn reload(targets: &Targets) -> Result<ExitCode, Failure> {
    targets.each(async |app, answers| {
        let renewal = Renewal::of(&app)?;
        if renewal.as_ref().is_some_and(Renewal::needs_new_primary) {
            upgrade_one(app.clone(), answers.clone()).await?;
        }
        let outcome = app.running()?.reload(|update| answers.progress(update)).await;
        let outcome = outcome.map_err(|error| broken_off("failed to reload", &error))?;
        answers.outcome("the reload", &outcome)?;
        renewal.map_or(Ok(()), |renewal| renewal.keep(&answers))
    })
}

/// Has each app's primary execute the next version of its program.
pub(crate) fn upgrade(targets: &Targets) -> Result<ExitCode, Failure> {
    targets.each(upgrade_one)
}

async fn upgrade_one(app: KnownApp, answers: Answers) -> Result<(), Failure> {
    let client = app.running()?;
    let outcome = client.upgrade(|update| answers.progress(update)).await;
    let outcome = outcome.map_err(|error| broken_off("failed to upgrade", &error))?;
    let pid = client.primary().pid;
    match &outcome {
        UpgradeOutcome::Finished { version, pause_ms } => {
            let text =
                format!("primary {pid} runs forkyard {version} now, after {pause_ms} ms of pause");
            answers.print(&outcome, &text);
            Ok(())
        }
        UpgradeOutcome::Failed { reason, stderr_tail } => {
            answers.print(&outcome, "");
            let what = format!("the upgrade failed, and has changed nothing: {reason}");
            Err(Failure::not_done(answers.with_tail(what, stderr_tail)))
        }
        UpgradeOutcome::Unknown => Err(Failure::not_done(
            "the upgrade ended in a way that only a newer forkyard has a word for".to_owned(),
        )),
    }
}
