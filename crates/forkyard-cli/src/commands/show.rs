//! `forkyard show`: one app with everything that is known of it.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Parser;
use forkyard_control::types::{ReloadState, Secrets, Status, Update, UpgradeOutcome, Worker};

use serde_json::Value;

use super::Targets;
use crate::condition::{Condition, Look, state_of};
use crate::exit_code::Failure;
use crate::records::Store;
use crate::report::shown;
use crate::settings::secrets;
use crate::units::{age, bytes};

/// What `forkyard show` can be told.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Show {
    #[command(flatten)]
    pub(crate) targets: Targets,
}

/// Prints each of them.
pub(crate) fn show(options: &Show) -> Result<ExitCode, Failure> {
    options.targets.each(async |app, answers| {
        let look = Look::at(app, Store::open().ok().as_ref()).await;
        let settings = settings(&look).await;
        let mut json = look.as_json();
        json["app_settings"] = settings.clone();
        let text = format!("{}\n\n{}", described(&look), in_lines(&settings));
        // Whose it is stands in the first line already.
        answers.unnamed().print(&json, text.trim_end());
        Ok(())
    })
}

/// Those in force, or those that hold when it is started again. Secrets are hidden.
async fn settings(look: &Look) -> Value {
    if let Some(client) = look.client()
        && let Ok(settings) = client.settings(Secrets::Hide).await
    {
        return settings;
    }
    let hidden = look.record().and_then(|record| secrets::hidden(&record.settings).ok());
    hidden.unwrap_or_default()
}

/// One a line, those in tables by the tables' names: `restart.limit`.
fn in_lines(settings: &Value) -> String {
    let mut lines = Vec::new();
    collect("", settings, &mut lines);
    lines.concat()
}

fn collect(name: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Null => {}
        Value::Object(table) => {
            let prefix = if name.is_empty() { String::new() } else { format!("{name}.") };
            table.iter().for_each(|(key, value)| collect(&format!("{prefix}{key}"), value, lines));
        }
        Value::String(text) => lines.push(format!("  {name} = {text}\n")),
        _ => lines.push(format!("  {name} = {value}\n")),
    }
}

fn described(look: &Look) -> String {
    let mut text = format!("{}: {}\n", look.name(), look.condition());
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<12} {value}");
    };
    if let Some(record) = look.record() {
        let program = record.settings.program.as_deref().unwrap_or("".as_ref());
        line("program", &program.display());
        line("directory", &record.directory.display());
        if let Some(origin) = &record.origin {
            line("settings", &origin.file.display());
        }
        if !record.settings.groups.is_empty() {
            line("groups", &record.settings.groups.join(", "));
        }
    }
    match look.condition() {
        Condition::Running(status) => {
            line("pid", &status.pid);
            line("up", &age(status.started));
            line("forkyard", &status.version);
            line("generation", &status.generation);
            line("workers", &look.workers(status));
            for listener in &status.listeners {
                let why =
                    listener.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                line("serves", &format!("{} ({}{why})", listener.address, listener.policy));
            }
            past(status).iter().for_each(|(name, value)| line(name, value));
            text.push_str(&workers(status));
        }
        Condition::Ended(end) => {
            line("ended", &format!("{} with exit code {}", end.time, end.code));
            line("because", &end.reason);
            end.stderr_tail.iter().for_each(|last| line("stderr", last));
        }
        Condition::Dead => {
            line(
                "because",
                &"its primary is gone without a word: it was killed, or the machine stopped",
            );
        }
        Condition::Silent(why) | Condition::Broken(why) => line("because", why),
        Condition::Stopped => {}
    }
    text.trim_end().to_owned()
}

/// How the last reload and the last upgrade went.
fn past(status: &Status) -> Vec<(&'static str, String)> {
    let reload = status.reload.as_ref().map(|reload| match reload {
        ReloadState::UnderWay => "is under way".to_owned(),
        ReloadState::Over { outcome } => outcome_of(outcome),
        ReloadState::Unknown => "?".to_owned(),
    });
    let upgrade = status.upgrade.as_ref().map(|upgrade| match upgrade {
        UpgradeOutcome::Finished { version, pause_ms } => {
            format!("to {version}, with a pause of {pause_ms} ms")
        }
        UpgradeOutcome::Failed { reason, .. } => format!("failed: {reason}"),
        UpgradeOutcome::Unknown => "?".to_owned(),
    });
    let reload = reload.map(|text| ("reload", text));
    reload.into_iter().chain(upgrade.map(|text| ("upgrade", text))).collect()
}

fn outcome_of(outcome: &Update) -> String {
    match outcome {
        Update::Finished { took_ms } => {
            format!("finished after {}", shown(std::time::Duration::from_millis(*took_ms)))
        }
        Update::Failed { reason, .. } => format!("failed: {reason}"),
        Update::Refused { reason } => format!("was refused: {reason}"),
        Update::Waiting | Update::Progress { .. } | Update::Unknown => "?".to_owned(),
    }
}

fn workers(status: &Status) -> String {
    let mut workers: Vec<_> = status.workers.iter().collect();
    workers.sort_by_key(|worker| (worker.slot, worker.worker));
    let mut text = format!(
        "\n  {:>4} {:>6} {:>8}  {:<9} {:>8} {:>8} {:>10} {:>8}\n",
        "slot", "worker", "pid", "state", "up", "crashes", "memory", "cpu"
    );
    workers.iter().for_each(|worker| text.push_str(&worker_line(worker)));
    text
}

fn worker_line(worker: &Worker) -> String {
    let unknown = || "–".to_owned();
    let up = worker.started.map_or_else(unknown, age);
    let memory = worker.memory_bytes.map_or_else(unknown, bytes);
    let cpu = worker.cpu_ms.map_or_else(unknown, |ms| format!("{:.1}s", ms as f64 / 1000.0));
    format!(
        "  {:>4} {:>6} {:>8}  {:<9} {up:>8} {:>8} {memory:>10} {cpu:>8}\n",
        worker.slot,
        worker.worker,
        worker.pid,
        state_of(worker),
        worker.restarts,
    )
}
