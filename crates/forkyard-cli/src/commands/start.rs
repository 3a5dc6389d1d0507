//! `forkyard start`: apps in the background.
//!
//! ```text
//!   program and flags ─┐
//!   settings file ─────┼─▶ records, in the order of what they depend on ──▶ one after the other:
//!   names, groups, all ┘      kept ──▶ its primary started ──▶ followed until it is ready
//! ```

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use super::targets::conversation;
use crate::answers::Answers;
use crate::apps::{KnownApp, chosen, known};
use crate::args::LogFormat;
use crate::background::{Background, Patience};
use crate::directory;
use crate::exit_code::Failure;
use crate::names;
use crate::records::{Origin, Record, Store};
use crate::settings::file::{self, SettingsFile};
use crate::settings::{App, Argument};

/// What `forkyard start` can be told.
#[derive(Clone, Debug, Parser)]
#[command(override_usage = "forkyard start [OPTIONS] PROGRAM [-- ARGS...]\n       \
    forkyard start [OPTIONS] [FILE [APP]...]\n       forkyard start APP...")]
pub(crate) struct Start {
    /// The app's name; by default PROGRAM's without its ending
    #[arg(long)]
    name: Option<String>,

    /// Which environment's variables of the settings file hold, as in [app.web.env.production]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,

    /// Do not wait until the app is ready
    #[arg(long)]
    no_wait: bool,

    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: App,

    /// A program and its arguments, after `--` if they begin with a dash; or a settings file (.toml, .yaml, .json), by default
    /// forkyard.toml here, and which of its apps; or apps that were started before, `all`
    #[arg(num_args = 0.., value_name = "TARGET")]
    targets: Vec<OsString>,
}

impl Start {
    pub(crate) fn log_format(&self) -> LogFormat {
        if self.json { LogFormat::Json } else { LogFormat::Text }
    }

    fn patience(&self) -> Patience {
        if self.no_wait { Patience::None } else { Patience::UntilReady }
    }

    fn has_settings(&self) -> bool {
        self.settings != App::default() || self.name.is_some()
    }
}

/// Starts what is meant and does not run yet.
pub(crate) fn start(options: &Start) -> Result<ExitCode, Failure> {
    let answers = Answers::new(options.log_format());
    conversation(async {
        let store = Store::open()?;
        let records = records(options).await?;
        if records.is_empty() {
            answers.done("nothing", "there is nothing to start");
        }
        start_all(&store, records, options.patience(), &answers).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Starts them one after the other, as whoever comes later may depend on one before.
pub(crate) async fn start_all(
    store: &Store,
    records: Vec<Record>,
    patience: Patience,
    answers: &Answers,
) -> Result<(), Failure> {
    for record in records {
        let name = record.name.clone();
        let background = Background { store, patience, answers: answers.of(&name) };
        background.start(record).await?;
    }
    Ok(())
}

/// What is to be started, and what it was told.
async fn records(options: &Start) -> Result<Vec<Record>, Failure> {
    let Some(first) = options.targets.first() else {
        return from_file(options, None, &[]);
    };
    if file::is_settings_file(Path::new(first)) {
        let apps: Vec<_> = options.targets[1..].iter().map(text).collect::<Result<_, _>>()?;
        return from_file(options, Some(Path::new(first)), &apps);
    }
    if !options.has_settings() && !Path::new(first).exists() {
        let names: Vec<_> = options.targets.iter().map(text).collect::<Result<_, _>>()?;
        let apps = known().await?;
        if names[0] == "all" || is_known(&apps, &names[0]) {
            return from_records(chosen(apps, &names)?);
        }
    }
    from_program(options).map(|record| vec![record])
}

fn text(target: &OsString) -> Result<String, Failure> {
    let odd = |target: OsString| {
        Failure::usage(format!("{} cannot be an app's name", target.to_string_lossy()))
    };
    target.clone().into_string().map_err(odd)
}

fn is_known(apps: &[KnownApp], target: &str) -> bool {
    let is_in = |app: &KnownApp| {
        app.kept().is_some_and(|record| record.settings.groups.iter().any(|name| name == target))
    };
    apps.iter().any(|app| app.name == target || is_in(app))
}

fn from_program(options: &Start) -> Result<Record, Failure> {
    if options.environment.is_some() {
        return Err(Failure::usage(
            "failed to use --environment: it chooses among those of a settings file".into(),
        ));
    }
    let mut words = options.targets.iter().cloned();
    let program = words.next().map(PathBuf::from);
    let args = words.map(Argument::from).collect();
    let settings = App { program, args, ..options.settings.clone() };
    let name = options.name.clone().unwrap_or_else(|| settings.default_name());
    names::check(&name).map_err(|why| Failure::usage(format!("{why}; name the app by --name")))?;
    Ok(Record::new(&name, settings, directory::start()?))
}

fn from_file(
    options: &Start,
    named: Option<&Path>,
    apps: &[String],
) -> Result<Vec<Record>, Failure> {
    if options.has_settings() {
        return Err(Failure::usage(
            "failed to use settings on the command line with a settings file: put them there"
                .into(),
        ));
    }
    let path = match named {
        Some(path) => directory::start()?.join(path),
        None => file::find(&directory::start()?)?,
    };
    let found = file::read(&path)?;
    found.knows_environment(options.environment.as_deref())?;
    for warning in &found.warnings {
        tracing::warn!("{}", warning.as_text(&path).trim_end());
    }
    let origin = Origin { file: found.path.clone(), environment: options.environment.clone() };
    let app_of =
        |name: &str| found.apps[name].clone().in_environment(options.environment.as_deref());
    let record = |name: &str| Record {
        origin: Some(origin.clone()),
        ..Record::new(name, app_of(name), found.folder().to_owned())
    };
    Ok(chosen_of(&found, apps)?.into_iter().map(record).collect())
}

/// Those that are named and what they depend on, or all.
fn chosen_of<'a>(found: &'a SettingsFile, named: &[String]) -> Result<Vec<&'a str>, Failure> {
    if let Some(odd) = named.iter().find(|name| !found.apps.contains_key(*name)) {
        let names: Vec<_> = found.apps.keys().map(String::as_str).collect();
        return Err(Failure::no_such_app(format!(
            "there is no app {odd:?} in {}; there are {}",
            found.path.display(),
            names.join(", ")
        )));
    }
    let mut wanted: Vec<&str> = named.iter().map(String::as_str).collect();
    let mut looked_at = 0;
    while let Some(name) = wanted.get(looked_at) {
        let needed = found.apps[*name].depends_on.iter().map(String::as_str);
        let new: Vec<_> = needed.filter(|needed| !wanted.contains(needed)).collect();
        wanted.extend(new);
        looked_at += 1;
    }
    let order = found.in_order().into_iter();
    Ok(order.filter(|name| named.is_empty() || wanted.contains(name)).collect())
}

fn from_records(apps: Vec<KnownApp>) -> Result<Vec<Record>, Failure> {
    let record = |app: KnownApp| match app.record {
        Some(Ok(record)) => Ok(record),
        Some(Err(why)) => Err(Failure::because(why)),
        None => Err(Failure::not_done(format!(
            "{} runs in the foreground of somebody, and is not to be started here",
            app.name
        ))),
    };
    apps.into_iter().map(record).collect()
}
