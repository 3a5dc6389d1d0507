//! Where PM2's settings are, and what is in them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::Note;
use super::attributes::Attributes;
use super::dump;
use super::evaluate::{Kind, evaluate};
use crate::directory;
use crate::exit_code::Failure;

/// A file that is longer is something else, in bytes.
const LONGEST: u64 = 16 * 1024 * 1024;

/// What PM2 was told.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) apps: Vec<Attributes>,
    /// What concerns no single app.
    pub(super) notes: Vec<Note>,
}

/// A file of PM2's, in any of its languages.
pub(super) fn file(path: &Path) -> Result<Source, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    if name.starts_with("dump.pm2") {
        return dump(path);
    }
    let absolute = directory::start()?.join(path);
    let (value, key) = match &*ending {
        "yaml" | "yml" => (yaml(path)?, None),
        "json" => json(path, &absolute)?,
        "js" | "cjs" | "mjs" => {
            read(path)?;
            let (value, key) = evaluate(&absolute, Kind::Module)?;
            (value, Some(key))
        }
        _ => {
            return Err(Failure::usage(format!(
                "failed to read {}: its name ends in none of .js, .cjs, .mjs, .json, .yaml, .yml",
                path.display()
            )));
        }
    };
    source(path, value, key.as_deref())
}

/// What `pm2 save` has saved.
pub(super) fn saved() -> Result<Source, Failure> {
    let in_home = || env::home_dir().map(|home| home.join(".pm2"));
    let home = env::var_os("PM2_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let home = home.or_else(in_home).unwrap_or_else(|| ".pm2".into());
    let path = home.join("dump.pm2");
    if !path.exists() {
        return Err(Failure::usage(format!(
            "there is no {}: run `pm2 save`, or name PM2's file, as in `forkyard import \
             ecosystem.config.js`",
            path.display()
        )));
    }
    dump(&path)
}

fn dump(path: &Path) -> Result<Source, Failure> {
    let value = serde_json::from_str(&read(path)?).map_err(|error| not_understood(path, &error))?;
    let environment = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    dump::source(value, &environment.collect())
        .ok_or_else(|| Failure::usage(format!("{} is no list of apps", path.display())))
}

fn yaml(path: &Path) -> Result<Value, Failure> {
    serde_saphyr::from_str(&read(path)?).map_err(|error| not_understood(path, &error))
}

/// PM2 takes JSON as JavaScript does: with comments, and what else an object may have.
fn json(path: &Path, absolute: &Path) -> Result<(Value, Option<String>), Failure> {
    match serde_json::from_str(&read(path)?) {
        Ok(value) => Ok((value, None)),
        Err(_) => evaluate(absolute, Kind::Text).map(|(value, key)| (value, Some(key))),
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        Failure::usage(format!("failed to read {}: {why}", path.display()))
    };
    let found = fs::metadata(path).map_err(|error| failed(&error))?;
    if !found.is_file() || found.len() > LONGEST {
        return Err(failed(&"it is no file of at most 16 MiB"));
    }
    fs::read_to_string(path).map_err(|error| failed(&error))
}

fn not_understood(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!("failed to read {}: {error}", path.display()))
}

fn source(path: &Path, value: Value, key: Option<&str>) -> Result<Source, Failure> {
    let mut source = Source::default();
    for app in listed(value, &mut source.notes) {
        match app {
            Value::Object(app) => source.apps.push(Attributes::of(app, key)),
            _ => source.note("apps", "something in the list is no app"),
        }
    }
    match source.apps.is_empty() {
        true => Err(Failure::usage(format!(
            "there is no app in {}: it is to have a list `apps`, or be an app itself",
            path.display()
        ))),
        false => Ok(source),
    }
}

/// The apps of a file, which may be an app or a list of them itself.
fn listed(value: Value, notes: &mut Vec<Note>) -> Vec<Value> {
    let Value::Object(mut file) = value else { return one_or_many(value) };
    for (name, why) in BESIDE_APPS {
        if file.get(name).is_some_and(|value| !is_nothing(value)) {
            notes.push(Note { about: name.to_owned(), why: why.to_owned() });
        }
    }
    let apps = ["apps", "pm2"].into_iter().find_map(|key| file.remove(key));
    apps.map_or_else(|| of_itself(file), one_or_many)
}

/// What a file may have beside its apps.
const BESIDE_APPS: [(&str, &str); 2] = [
    (
        "deploy",
        "Forkyard does not copy files to other machines; keep `pm2 deploy` or what you like \
         better for that, have it switch a symlink `current`, and end it with `forkyard reload`",
    ),
    ("static", "Forkyard is no server of files; run one as an app, or have a proxy do it"),
];

fn of_itself(file: Map<String, Value>) -> Vec<Value> {
    let is_app = ["script", "exec", "cmd", "command"].iter().any(|key| file.contains_key(*key));
    if is_app { vec![file.into()] } else { Vec::new() }
}

fn one_or_many(value: Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list,
        value @ Value::Object(_) => vec![value],
        _ => Vec::new(),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(table) => table.is_empty(),
        _ => false,
    }
}

impl Source {
    fn note(&mut self, about: &str, why: &str) {
        self.notes.push(Note { about: about.to_owned(), why: why.to_owned() });
    }
}
