//! `forkyard check --diff`: what of a file is not as it was when its apps were started.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

use crate::answers::Answers;
use crate::exit_code::Failure;
use crate::records::{Record, Store};
use crate::settings::change::{self, Change, Needs};
use crate::settings::file::SettingsFile;

/// How one app differs.
#[derive(Clone, Debug)]
enum Difference {
    /// It was never started.
    Added,
    /// It is not in the file any more.
    Removed,
    Changed(Vec<Change>),
    /// Its record cannot be read, so nobody knows.
    Unknown(String),
}

/// Prints what differs.
pub(super) fn diff(
    found: &SettingsFile,
    environment: Option<&str>,
    answers: &Answers,
) -> Result<ExitCode, Failure> {
    let store = Store::open()?;
    let mut names: BTreeSet<String> = store.names()?.into_iter().collect();
    names.extend(found.apps.keys().cloned());
    let mut all = Vec::new();
    for name in names {
        let difference = match store.load(&name) {
            Ok(record) => compared(found, environment, &name, record.as_ref())?,
            Err(error) if found.apps.contains_key(&name) => {
                Some(Difference::Unknown(error.to_string()))
            }
            Err(_) => None,
        };
        all.extend(difference.map(|difference| (name, difference)));
    }
    print(found, &all, answers);
    Ok(ExitCode::SUCCESS)
}

fn compared(
    found: &SettingsFile,
    environment: Option<&str>,
    name: &str,
    record: Option<&Record>,
) -> Result<Option<Difference>, Failure> {
    let (app, record) = match (found.apps.get(name), record) {
        (Some(app), Some(record)) => (app, record),
        (Some(_), None) => return Ok(Some(Difference::Added)),
        (None, Some(record)) if is_of(record, &found.path) => {
            return Ok(Some(Difference::Removed));
        }
        (None, _) => return Ok(None),
    };
    let chosen = record.origin.as_ref().and_then(|origin| origin.environment.as_deref());
    let app = app.clone().in_environment(environment.or(chosen));
    let changes = change::changes(&record.settings, &app);
    let mut changes =
        changes.map_err(|error| Failure::unexpected("failed to compare settings", &error))?;
    let folder = |path: &Path| path.display().to_string();
    changes.extend(change::moved(&folder(&record.directory), &folder(found.folder())));
    Ok((!changes.is_empty()).then_some(Difference::Changed(changes)))
}

/// Whether it was started from this file, by whatever name.
fn is_of(record: &Record, path: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    record.origin.as_ref().is_some_and(|origin| real(&origin.file) == real(path))
}

fn print(found: &SettingsFile, all: &[(String, Difference)], answers: &Answers) {
    let objects: Vec<_> = all.iter().map(|(name, difference)| as_json(name, difference)).collect();
    let text = match all.is_empty() {
        true => "all apps are as they were started".to_owned(),
        false => {
            let shown = all.iter().map(|(name, difference)| as_text(name, difference));
            shown.collect::<Vec<_>>().join("\n")
        }
    };
    answers.print(&json!({ "file": found.path, "apps": objects }), &text);
}

fn as_json(name: &str, difference: &Difference) -> Value {
    match difference {
        Difference::Added => json!({ "name": name, "difference": "added" }),
        Difference::Removed => json!({ "name": name, "difference": "removed" }),
        Difference::Unknown(why) => json!({ "name": name, "difference": "unknown", "reason": why }),
        Difference::Changed(changes) => {
            let settings: Vec<_> = changes
                .iter()
                .map(|Change { setting, old, new, needs }| {
                    json!({ "setting": setting, "old": old, "new": new, "needs": needs.word() })
                })
                .collect();
            let needs = change::needs(changes).word();
            json!({ "name": name, "difference": "changed", "needs": needs, "settings": settings })
        }
    }
}

fn as_text(name: &str, difference: &Difference) -> String {
    match difference {
        Difference::Added => format!("{name} is new: forkyard start starts it"),
        Difference::Removed => {
            format!("{name} is not in the file any more: forkyard delete {name} ends it")
        }
        Difference::Unknown(why) => format!("{name} cannot be compared: {why}"),
        Difference::Changed(changes) => {
            let way = way(name, change::needs(changes));
            format!("{name} has changed{way}\n{}", table(changes))
        }
    }
}

/// How to make all of it hold.
fn way(name: &str, needs: Needs) -> String {
    match needs {
        Needs::Nothing => String::new(),
        Needs::Roll => format!(": forkyard reload {name}"),
        Needs::NewPrimary => format!(": forkyard upgrade {name}, then forkyard reload {name}"),
        Needs::Restart => format!(": forkyard restart {name}"),
    }
}

fn table(changes: &[Change]) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["setting", "was", "is", "takes"]);
    for Change { setting, old, new, needs } in changes {
        let [old, new] = [old, new].map(|value| value.as_ref().map_or("–".to_owned(), shown));
        table.add_row([setting.clone(), old, new, needs.to_string()]);
    }
    table.to_string()
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.escape_debug().to_string(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(" "),
        value => value.to_string(),
    }
}
