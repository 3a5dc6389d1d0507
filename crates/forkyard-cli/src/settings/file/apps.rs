//! From a file's tree to its apps, and everything that is wrong on the way.

use std::collections::BTreeMap;

use super::mistake::Mistake;
use super::reading::{Found, Wrong, WrongKind, read};
use super::suggest::{elsewhere, nearest};
use super::tree::{Entry, Node, Value};
use crate::names;
use crate::settings::{App, schema};

/// What apps stand in.
pub(super) const APPS: &str = "app";
/// By which editors find the schema.
const SCHEMA: &str = "$schema";
/// How many apps a file may have.
const MOST_APPS: usize = 1000;
/// How many mistakes of one app are told.
const MOST_MISTAKES: usize = 20;

/// The apps of a file by their names; those that have mistakes are left out.
pub(super) fn apps(root: &Node) -> (BTreeMap<String, App>, Vec<Mistake>) {
    let mut mistakes = top_level(root);
    let mut apps = BTreeMap::new();
    for entry in entries(root).iter().take(MOST_APPS) {
        let (app, wrong) = app(entry);
        mistakes.extend(wrong);
        apps.extend(app.map(|app| (entry.key.clone(), app)));
    }
    (apps, mistakes)
}

/// The apps' entries.
pub(super) fn entries(root: &Node) -> &[Entry] {
    root.entry(APPS).map_or(&[], |apps| apps.node.entries())
}

fn top_level(root: &Node) -> Vec<Mistake> {
    match &root.value {
        Value::Table(_) => {}
        Value::Nothing => return vec![no_app()],
        _ => {
            let why = format!("this is {}; needed is a table with apps", root.found());
            return vec![Mistake::at(&root.span, "these are no settings").because(why)];
        }
    }
    let unknown = root.entries().iter().filter(|entry| entry.key != APPS && entry.key != SCHEMA);
    let mut mistakes: Vec<_> = unknown.map(misplaced).collect();
    match root.entry(APPS) {
        Some(apps) => mistakes.extend(apps_table(apps)),
        None if mistakes.is_empty() => mistakes.push(no_app()),
        None => {}
    }
    mistakes
}

fn no_app() -> Mistake {
    Mistake::somewhere("no app is in this file")
        .help("an app is a table with its name: `app.web`, with at least `program`")
}

fn misplaced(entry: &Entry) -> Mistake {
    let key = &entry.key;
    let belongs_to_app = || schema::settings().iter().any(|known| is_or_begins(known, key));
    let why = if key == "apps" {
        "did you mean `app`?".to_owned()
    } else if belongs_to_app() {
        format!("it is an app's: put it into `app.NAME`, as `app.NAME.{key}`")
    } else {
        "apps are tables in `app`, and nothing is beside it".to_owned()
    };
    Mistake::at(&entry.key_span, format!("`{key}` does not belong here")).because(why).of(key)
}

fn is_or_begins(setting: &str, key: &str) -> bool {
    setting.split('.').next() == Some(key)
}

fn apps_table(apps: &Entry) -> Option<Mistake> {
    let entries = match &apps.node.value {
        Value::Table(entries) => entries.as_slice(),
        Value::Nothing => &[],
        _ => {
            let why = format!("this is {}; needed is a table by name", apps.node.found());
            return Some(Mistake::at(&apps.node.span, "`app` has no names").because(why).of(APPS));
        }
    };
    match entries.len() {
        0 => Some(no_app()),
        1..=MOST_APPS => None,
        _ => Some(Mistake::at(&apps.key_span, format!("there are more than {MOST_APPS} apps"))),
    }
}

fn app(entry: &Entry) -> (Option<App>, Vec<Mistake>) {
    let mut mistakes: Vec<_> = name(entry).into_iter().collect();
    let app = settings(entry, &mut mistakes);
    if matches!(entry.node.value, Value::Table(_) | Value::Nothing) {
        mistakes.extend(program(entry));
    }
    if mistakes.is_empty() {
        mistakes.extend(app.iter().flat_map(|app| conflicts(entry, app)));
    }
    (app.filter(|_| mistakes.is_empty()), mistakes)
}

fn name(entry: &Entry) -> Option<Mistake> {
    let wrong = names::check(&entry.key).err()?;
    Some(Mistake::at(&entry.key_span, wrong).of(setting_of(entry, &[])))
}

fn program(entry: &Entry) -> Option<Mistake> {
    let named = entry.node.entry("program").map(|program| &program.node.value);
    match named {
        None | Some(Value::Nothing) => Some(
            Mistake::at(&entry.key_span, format!("`{}` has no program", entry.key))
                .because("name it by `program`")
                .of(setting_of(entry, &["program"])),
        ),
        Some(_) => None,
    }
}

/// Reads again and again without what did not fit, so that all of it is told.
fn settings(entry: &Entry, mistakes: &mut Vec<Mistake>) -> Option<App> {
    let mut node = entry.node.clone();
    for _ in 0..MOST_MISTAKES {
        let wrong = match read(&node) {
            Ok(app) => return Some(app),
            Err(wrong) => wrong,
        };
        let mistake = mistake(entry, &wrong);
        if !mistakes.contains(&mistake) {
            mistakes.push(mistake);
        }
        if !wrong.span.is_some_and(|span| node.take_out(&span)) {
            return None;
        }
    }
    None
}

fn conflicts(entry: &Entry, app: &App) -> Vec<Mistake> {
    let told = app.conflicts().into_iter().map(|conflict| {
        let at = entry.node.at(conflict.setting.split('.'));
        let span = at.map_or(&entry.key_span, |at| &at.key_span);
        Mistake::at(span, format!("`{}` does not go with the rest", conflict.setting))
            .because(conflict.why)
            .of(setting_of(entry, &[conflict.setting]))
    });
    told.collect()
}

/// The keys that lead to a setting, as one.
pub(super) fn setting_of(entry: &Entry, path: &[&str]) -> String {
    [APPS, &entry.key].iter().chain(path).copied().collect::<Vec<_>>().join(".")
}

fn mistake(entry: &Entry, wrong: &Wrong) -> Mistake {
    let path = wrong.path();
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    let setting = if path.is_empty() { entry.key.clone() } else { path.join(".") };
    let mistake = match &wrong.kind {
        WrongKind::UnknownKey { key, known } => unknown_key(key, &path, known),
        WrongKind::UnknownWord { word, known } => {
            Mistake::somewhere(format!("wrong value for `{setting}`")).because(meant(word, known))
        }
        WrongKind::OtherKind { found, needed } => {
            let mistake = Mistake::somewhere(format!("wrong kind of value for `{setting}`"));
            let mistake = mistake.because(format!("this is {found}; needed is {needed}"));
            let help = quotes(*found, needed).map(str::to_owned);
            Mistake { help, ..mistake }
        }
        WrongKind::Value(why) => {
            Mistake::somewhere(format!("wrong value for `{setting}`")).because(why)
        }
    };
    let span = wrong.span.clone().or_else(|| Some(entry.key_span.clone()));
    Mistake { span, ..mistake }.of(setting_of(entry, &path))
}

fn quotes(found: Found, needed: &str) -> Option<&'static str> {
    match (found, needed) {
        (Found::Text, "true or false") => Some("write true or false without quotes"),
        (Found::Text, needed) if needed.contains("number") => Some("write it without quotes"),
        (Found::Number | Found::Truth, "text") => Some("write it in quotes"),
        _ => None,
    }
}

fn unknown_key(key: &str, path: &[&str], known: &[&'static str]) -> Mistake {
    let what = match path {
        [table, _] => format!("there is no setting `{key}` in `{table}`"),
        _ => format!("there is no setting `{key}`"),
    };
    let mistake = Mistake::somewhere(what);
    match elsewhere(key).or_else(|| nearest(key, known.iter().copied())) {
        Some(meant) => {
            // In a table it is clear that the nearest one is in the same.
            let is_leaf = known.contains(&meant) && path.len() == 2;
            let table = if is_leaf { format!("{}.", path[0]) } else { String::new() };
            mistake.because(format!("did you mean `{table}{meant}`?"))
        }
        None => mistake.help(format!("there are {}", listed(known))),
    }
}

fn meant(word: &str, known: &[&'static str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(nearest) => format!("did you mean `{nearest}`? There are {}", listed(known)),
        None => format!("there are {}", listed(known)),
    }
}

fn listed(known: &[&str]) -> String {
    known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ")
}
