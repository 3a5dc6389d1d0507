//! `forkyard reload`, `restart --slot` and `upgrade`: what running apps do at once.

use std::process::ExitCode;

use forkyard_control::client::Client;
use forkyard_control::types::{Secrets, UpgradeOutcome};

use super::Targets;
use crate::answers::{Answers, broken_off};
use crate::apps::KnownApp;
use crate::exit_code::Failure;
use crate::kept::Kept;
use crate::report::shown;
use crate::settings::App;

/// Has each app replace its workers by those of the next generation.
pub(crate) fn reload(targets: &Targets) -> Result<ExitCode, Failure> {
    targets.each(async |app, answers| {
        let client = app.running()?;
        let kept = app.kept().and_then(|_| Kept::of(&app.name).ok());
        // If it changes while it is read here and there, the next reload has what it says by then.
        let changed = kept.and_then(|kept| Some((kept.in_file()?, kept)));
        if let Some((wanted, _)) = &changed {
            prepare_primary(&client, wanted, &app.name, &answers).await?;
        }
        let outcome = client.reload(|update| answers.progress(update)).await;
        let outcome = outcome.map_err(|error| broken_off("failed to reload", &error))?;
        answers.outcome("the reload", &outcome)?;
        changed.map_or(Ok(()), |(wanted, kept)| kept.came_up_with(wanted))
    })
}

/// Has the primary take on the settings of its own that its settings file has now, which its next
/// image does. If it cannot, the workers are replaced all the same.
async fn prepare_primary(
    client: &Client,
    wanted: &App,
    name: &str,
    answers: &Answers,
) -> Result<(), Failure> {
    let present = client.settings(Secrets::Show).await;
    let present = present.map_err(|error| broken_off("failed to ask for settings", &error))?;
    // Settings of another version may be none of this one's.
    let Ok(present) = serde_json::from_value::<App>(present) else { return Ok(()) };
    if present.of_start() != wanted.of_start() {
        tracing::warn!(
            "a reload leaves `listen`, `policy`, `pin` and `serialization` as they are; \
             `forkyard restart {name}` applies what is new there"
        );
    }
    if present.of_primary() == wanted.of_primary() {
        return Ok(());
    }
    let outcome = client.upgrade(|update| answers.progress(update)).await;
    let outcome = outcome.map_err(|error| broken_off("failed to apply the settings", &error))?;
    if let UpgradeOutcome::Failed { reason, .. } = outcome {
        tracing::warn!("the primary goes on with its former settings: {reason}");
    }
    Ok(())
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
            let pause = shown(std::time::Duration::from_millis(*pause_ms));
            let text = format!(
                "the primary (pid {pid}) runs forkyard {version} now; nothing was accepted for {pause}"
            );
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
