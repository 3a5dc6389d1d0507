//! How an app is, from what its primary says, or from what is left of it.

use std::fmt;

use forkyard_control::client::Client;
use forkyard_control::types::{AppState, Status, Worker, WorkerState};
use forkyard_sys::process::is_running;
use serde_json::{Map, Value, json};

use crate::apps::KnownApp;
use crate::records::{End, Record, Store, Wanted};

/// One app, looked at.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    app: KnownApp,
    condition: Condition,
}

/// How an app is.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// It has answered.
    Running(Box<Status>),
    /// Its primary is there, and does not answer.
    Silent(String),
    /// It is not to run.
    Stopped,
    /// Its workers were done, or it was given up.
    Ended(End),
    /// It is to run, and its primary is gone without a word: killed, or the machine was.
    Dead,
    /// What is kept of it cannot be read.
    Broken(String),
}

impl Look {
    pub(crate) async fn at(app: KnownApp, store: Option<&Store>) -> Self {
        let condition = match app.client() {
            Some(client) => match client.status().await {
                Ok(status) => Condition::Running(Box::new(status)),
                // It was there, and is gone by now.
                Err(_) if !is_running(client.primary().pid) => {
                    left(&app, store.and_then(|store| store.end(&app.name)))
                }
                Err(error) => Condition::Silent(error.to_string()),
            },
            None => left(&app, store.and_then(|store| store.end(&app.name))),
        };
        Self { app, condition }
    }

    #[cfg(test)]
    pub(crate) fn of(app: KnownApp, condition: Condition) -> Self {
        Self { app, condition }
    }

    pub(crate) fn name(&self) -> &str {
        &self.app.name
    }

    /// To ask it for more, if it runs.
    pub(crate) fn client(&self) -> Option<Client> {
        self.app.client()
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        self.app.kept()
    }

    pub(crate) fn condition(&self) -> &Condition {
        &self.condition
    }

    /// What it says, if it runs.
    pub(crate) fn running(&self) -> Option<&Status> {
        match &self.condition {
            Condition::Running(status) => Some(status),
            _ => None,
        }
    }

    /// How many of its workers are ready, of how many.
    pub(crate) fn workers(&self, status: &Status) -> String {
        let count = |wanted: &[WorkerState]| {
            status.workers.iter().filter(|worker| wanted.contains(&worker.state)).count()
        };
        let ready = count(&[WorkerState::Ready]);
        let seats = count(&[WorkerState::Ready, WorkerState::Starting]);
        let beside = [("spare", WorkerState::Spare), ("leaving", WorkerState::Leaving)]
            .map(|(word, state)| (word, count(&[state])));
        let beside: String = beside
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(word, count)| format!(" +{count} {word}"))
            .collect();
        format!("{ready}/{seats}{beside}")
    }

    /// How often its slots have needed another worker because one had crashed.
    pub(crate) fn crashes(&self, status: &Status) -> u32 {
        let mut by_slot = std::collections::BTreeMap::new();
        for worker in &status.workers {
            let most: &mut u32 = by_slot.entry(worker.slot).or_default();
            *most = worker.restarts.max(*most);
        }
        by_slot.values().sum()
    }

    /// What all its workers take, in bytes.
    pub(crate) fn memory(&self, status: &Status) -> Option<u64> {
        let known: Vec<_> =
            status.workers.iter().filter_map(|worker| worker.memory_bytes).collect();
        (!known.is_empty()).then(|| known.iter().sum())
    }

    /// Where it is served, in one line.
    pub(crate) fn listeners(&self, status: &Status) -> String {
        let shown = status
            .listeners
            .iter()
            .map(|listener| format!("{} ({})", listener.address, listener.policy));
        shown.collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn as_json(&self) -> Value {
        let mut object = Map::from_iter([
            ("name".to_owned(), json!(self.app.name)),
            ("state".to_owned(), json!(self.condition.word())),
        ]);
        if let Some(record) = self.record() {
            object.insert("program".into(), json!(record.settings.program));
            object.insert("directory".into(), json!(record.directory));
            let file = record.origin.as_ref().map(|origin| &origin.file);
            object.insert("settings_file".into(), json!(file));
        }
        match &self.condition {
            Condition::Running(status) => {
                let status = serde_json::to_value(status).unwrap_or_default();
                let fields = status.as_object().cloned().unwrap_or_default();
                object.extend(
                    fields.into_iter().filter(|(name, _)| name != "app" && name != "state"),
                );
            }
            Condition::Ended(end) => drop(object.insert("end".into(), json!(end))),
            Condition::Silent(why) | Condition::Broken(why) => {
                drop(object.insert("reason".into(), json!(why)));
            }
            Condition::Stopped | Condition::Dead => {}
        }
        Value::Object(object)
    }
}

fn left(app: &KnownApp, end: Option<End>) -> Condition {
    match (&app.record, end) {
        (Some(Err(why)), _) => Condition::Broken(why.clone()),
        (_, Some(end)) if end.code != 0 => Condition::Ended(end),
        (Some(Ok(record)), _) if record.wanted == Wanted::Stopped => Condition::Stopped,
        (_, Some(end)) => Condition::Ended(end),
        (_, None) => Condition::Dead,
    }
}

impl Condition {
    /// For machines.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Running(status) => match status.state {
                AppState::Starting => "starting",
                AppState::Running | AppState::Unknown => "running",
                AppState::Reloading => "reloading",
                AppState::Stopping => "stopping",
            },
            Self::Silent(_) => "silent",
            Self::Stopped => "stopped",
            Self::Ended(End { code: 0, .. }) => "finished",
            Self::Ended(_) => "failed",
            Self::Dead => "dead",
            Self::Broken(_) => "broken",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Ended(End { code, .. }) if *code != 0 => write!(f, " ({code})"),
            _ => Ok(()),
        }
    }
}

/// One worker, as `show` has it.
pub(crate) fn state_of(worker: &Worker) -> &'static str {
    match worker.state {
        WorkerState::Starting => "starting",
        WorkerState::Ready => "ready",
        WorkerState::Successor => "successor",
        WorkerState::Spare => "spare",
        WorkerState::Leaving => "leaving",
        WorkerState::Unknown => "?",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use forkyard_control::client::Found;
    use forkyard_control::types::Listener;

    use super::*;
    use crate::settings::App;

    fn app(name: &str, wanted: Wanted) -> KnownApp {
        let settings = App { program: Some("app.js".into()), ..App::default() };
        let record = Record { wanted, ..Record::new(name, settings, "/srv".into()) };
        KnownApp { name: name.into(), record: Some(Ok(record)), primary: None }
    }

    fn worker(slot: u32, state: WorkerState, restarts: u32) -> Worker {
        Worker {
            slot,
            worker: slot + 1,
            pid: 100 + slot,
            state,
            started: None,
            restarts,
            memory_bytes: Some(50 * 1024 * 1024),
            cpu_ms: Some(1_500),
        }
    }

    fn status() -> Status {
        let listener =
            Listener { address: "[::]:8000".into(), policy: "kernel".into(), reason: None };
        Status {
            api: 1,
            app: "web".into(),
            pid: 42,
            version: "0.1.0".into(),
            state: AppState::Running,
            generation: 2,
            // Yet to come, and so none long ago whenever this runs.
            started: 9_999_999_999_999,
            image_started: 9_999_999_999_999,
            workers: vec![
                worker(0, WorkerState::Ready, 2),
                worker(1, WorkerState::Starting, 1),
                worker(1, WorkerState::Leaving, 1),
            ],
            listeners: vec![listener],
            reload: None,
            upgrade: None,
        }
    }

    fn end(code: u8) -> End {
        let (time, reason) = ("2026-11-24T14:00:00.000Z".to_owned(), "crashed".to_owned());
        End { pid: 7, code, time, reason, stderr_tail: Vec::new() }
    }

    /// One in each condition.
    pub(crate) fn looks() -> Vec<Look> {
        let found = Found { app: "web".into(), pid: 42, path: "/run/web.42.sock".into() };
        let web = KnownApp { primary: Some(found), ..app("web", Wanted::Running) };
        let broken =
            KnownApp { record: Some(Err("no JSON".into())), ..app("odd", Wanted::Running) };
        let left_of = |app: KnownApp, end| {
            let condition = left(&app, end);
            Look::of(app, condition)
        };
        vec![
            Look::of(web.clone(), Condition::Running(Box::new(status()))),
            Look::of(web, Condition::Silent("no answer".into())),
            left_of(app("idle", Wanted::Stopped), Some(end(0))),
            left_of(app("done", Wanted::Running), Some(end(0))),
            left_of(app("sick", Wanted::Running), Some(end(3))),
            left_of(app("gone", Wanted::Running), None),
            left_of(broken, None),
        ]
    }

    #[test]
    fn each_condition_has_its_word() {
        let words: Vec<_> = looks().iter().map(|look| look.condition().to_string()).collect();
        let expected = ["running", "silent", "stopped", "finished", "failed (3)", "dead", "broken"];
        assert_eq!(words, expected);
    }
}
