//! Drafts as a settings file, and their notes as text.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::{Drafts, Note};

/// The order in which people look for it; what is not among it comes behind.
const ORDER: [&str; 12] = [
    "program",
    "args",
    "interpreter",
    "interpreter_args",
    "cwd",
    "workers",
    "watch",
    "watch_quiet",
    "schedule",
    "groups",
    "instance_var",
    "env",
];

/// The settings file.
pub(super) fn toml(drafts: &Drafts) -> String {
    let mut text = String::from(
        "# Made of PM2's settings by `forkyard import`. Relative paths lead from this file's folder.\n",
    );
    comment(&mut text, &drafts.notes);
    for app in &drafts.apps {
        text.push('\n');
        comment(&mut text, &app.notes);
        table(&mut text, &format!("app.{}", key(&app.name)), &app.settings);
    }
    text
}

/// What is not as it was.
pub(super) fn notes(drafts: &Drafts) -> String {
    let mut text = String::new();
    let all = drafts.apps.iter().map(|app| (app.name.as_str(), &app.notes));
    for (name, notes) in [("", &drafts.notes)].into_iter().chain(all) {
        for Note { about, why } in notes {
            let name = if name.is_empty() { String::new() } else { format!("{name}: ") };
            let _ = writeln!(text, "forkyard: {name}{about}: {why}");
        }
    }
    text
}

fn comment(text: &mut String, notes: &[Note]) {
    for Note { about, why } in notes {
        let _ = writeln!(text, "# {}", one_line(&format!("{about}: {why}")));
    }
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn table(text: &mut String, path: &str, settings: &Map<String, Value>) {
    let _ = writeln!(text, "[{path}]");
    let (tables, values): (Vec<_>, Vec<_>) =
        in_order(settings).into_iter().partition(|(_, value)| value.is_object());
    for (name, value) in values {
        let _ = writeln!(text, "{} = {}", key(name), inline(value));
    }
    for (name, value) in tables {
        if let Value::Object(settings) = value {
            text.push('\n');
            table(text, &format!("{path}.{}", key(name)), settings);
        }
    }
}

fn in_order(settings: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let place = |name: &str| ORDER.iter().position(|other| *other == name).unwrap_or(ORDER.len());
    let mut all: Vec<_> = settings.iter().collect();
    all.sort_by_key(|(name, _)| place(name));
    all
}

fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        false => toml::Value::from(name).to_string(),
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Array(list) => {
            format!("[{}]", list.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => toml::Value::from(text.as_str()).to_string(),
        other => other.to_string(),
    }
}
