//! `forkyard import`: what PM2 was told, as Forkyard's own settings.
//!
//! ```text
//!   ecosystem.config.js, .json, .yaml ─┐
//!                                      ├─ source ─▶ Attributes an app ─ mapping ─▶ Draft ─▶ TOML
//!   dump.pm2, what `pm2 save` wrote ───┘                                             └────▶ notes
//! ```
//!
//! A draft has the shape of the settings, and says of each thing that PM2 was told and that is not in
//! it why that is.

mod attributes;
mod dump;
mod evaluate;
mod mapping;
mod program;
mod source;
mod written;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Map, Value, json};

use crate::exit_code::Failure;

/// What `forkyard import` can be told.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Import {
    /// PM2's file: ecosystem.config.js, .cjs, .mjs, .json, .yaml or .yml; without it what
    /// `pm2 save` has saved (PM2_HOME or ~/.pm2)
    #[arg(conflicts_with = "pm2")]
    file: Option<PathBuf>,

    /// Take what `pm2 save` has saved
    #[arg(long)]
    pm2: bool,

    /// Write the settings to this file, which must not be there yet, instead of printing them
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Print settings and notes as one JSON object
    #[arg(long, conflicts_with = "output")]
    pub(crate) json: bool,
}

/// What PM2's settings become.
#[derive(Debug, Default)]
struct Drafts {
    apps: Vec<Draft>,
    /// What concerns no single app.
    notes: Vec<Note>,
}

/// What one app becomes.
#[derive(Debug, Default)]
struct Draft {
    name: String,
    /// In the shape of an app's settings.
    settings: Map<String, Value>,
    notes: Vec<Note>,
}

/// Why something is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    /// What it is about, by PM2's name for it.
    about: String,
    why: String,
}

impl Draft {
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.settings.insert(key.to_owned(), value.into());
    }

    /// Sets something in a table of the settings.
    fn set_in(&mut self, table: &str, key: &str, value: impl Into<Value>) {
        let table = self.settings.entry(table).or_insert_with(|| Map::new().into());
        if let Value::Object(table) = table {
            table.insert(key.to_owned(), value.into());
        }
    }

    fn note(&mut self, about: &str, why: impl Into<String>) {
        self.notes.push(Note { about: about.to_owned(), why: why.into() });
    }
}

/// Prints or writes the settings, and says what is not as it was.
pub(crate) fn import(options: &Import) -> Result<ExitCode, Failure> {
    let source = match &options.file {
        Some(file) => source::file(file)?,
        None => source::saved()?,
    };
    let drafts = mapping::drafts(source);
    if options.json {
        let text = format!("{}\n", as_json(&drafts));
        return print(&text).map(|()| ExitCode::SUCCESS);
    }
    let text = written::toml(&drafts);
    match &options.output {
        Some(path) => write(path, &text)?,
        None => print(&text)?,
    }
    // Whoever does not read it keeps nobody from what was asked for.
    let _ = anstream::stderr().lock().write_all(written::notes(&drafts).as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn as_json(drafts: &Drafts) -> Value {
    let note = |app: Option<&str>, note: &Note| json!({ "app": app, "about": note.about, "why": note.why });
    let of_all = drafts.notes.iter().map(|about| note(None, about));
    let of_apps = drafts
        .apps
        .iter()
        .flat_map(|app| app.notes.iter().map(move |about| note(Some(&app.name), about)));
    let notes: Vec<_> = of_all.chain(of_apps).collect();
    let apps: Map<_, _> =
        drafts.apps.iter().map(|app| (app.name.clone(), app.settings.clone().into())).collect();
    json!({ "app": apps, "notes": notes })
}

fn print(text: &str) -> Result<(), Failure> {
    let printed = anstream::stdout().lock().write_all(text.as_bytes());
    printed.map_err(|error| Failure::unexpected("failed to print the settings", &error))
}

/// There are variables in it, and among them often a secret, so it is for its owner alone.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::usage(format!(
            "failed to write {0}: it is there already; remove it, or name another with --output",
            path.display()
        )),
        _ => Failure::usage(format!("failed to write {}: {error}", path.display())),
    })
}

#[cfg(test)]
mod tests;
