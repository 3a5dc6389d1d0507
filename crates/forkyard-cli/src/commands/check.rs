//! `forkyard check`: what a settings file would start, or what is wrong with it.

mod diff;
mod listed;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};

use crate::answers::Answers;
use crate::args::LogFormat;
use crate::directory;
use crate::exit_code::Failure;
use crate::settings::file::{self, FileError, Finding, SettingsFile};
use crate::settings::schema;
use listed::Listed;

/// What `forkyard check` can be told.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Check {
    /// The settings file (.toml, .yaml, .json); by default forkyard.toml here
    file: Option<PathBuf>,

    /// Which environment's variables hold, as in [app.web.env.production]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,

    /// Say what has changed since the apps were started, and what it takes to hold
    #[arg(long)]
    diff: bool,

    /// Print the JSON Schema of settings files, for editors
    #[arg(long, conflicts_with_all = ["file", "environment", "diff", "json"])]
    schema: bool,

    /// Print JSON: one object
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(crate) fn log_format(&self) -> LogFormat {
        if self.json { LogFormat::Json } else { LogFormat::Text }
    }
}

/// Checks a file.
pub(crate) fn check(options: &Check) -> Result<ExitCode, Failure> {
    let answers = Answers::new(options.log_format());
    if options.schema {
        answers.print(&(), &format!("{:#}", schema::schema()));
        return Ok(ExitCode::SUCCESS);
    }
    let path = match &options.file {
        Some(path) => path.clone(),
        None => here()?,
    };
    let found = match file::read(&path) {
        Ok(found) => found,
        Err(error) => return wrong(options, &path, error),
    };
    found.knows_environment(options.environment.as_deref())?;
    match options.diff {
        true => diff::diff(&found, options.environment.as_deref(), &answers),
        false => fine(options, &path, &found, &answers),
    }
}

/// By its name alone, as everybody knows where they are.
fn here() -> Result<PathBuf, Failure> {
    let folder = directory::start()?;
    let found = file::find(&folder)?;
    Ok(found.strip_prefix(&folder).map(Path::to_owned).unwrap_or(found))
}

/// Machines have the mistakes as fields.
fn wrong(options: &Check, path: &Path, error: FileError) -> Result<ExitCode, Failure> {
    let findings = error.findings();
    match options.log_format() {
        LogFormat::Json if !findings.is_empty() => {
            let object = object(path, &[], findings, &[]);
            Answers::new(LogFormat::Json).print(&object, "");
        }
        LogFormat::Text if !findings.is_empty() => {
            anstream::eprint!("{}", error.as_text());
        }
        _ => return Err(error.into()),
    }
    Ok(Failure::from(error).code())
}

fn fine(
    options: &Check,
    path: &Path,
    found: &SettingsFile,
    answers: &Answers,
) -> Result<ExitCode, Failure> {
    let (apps, failures) = listed::look_up(found, options.environment.as_deref());
    if options.log_format() == LogFormat::Text {
        let warnings = found.warnings.iter().map(|warning| warning.as_text(path));
        anstream::eprint!("{}", warnings.map(|text| format!("{text}\n")).collect::<String>());
    }
    let heading = heading(path, &apps, failures.is_empty());
    answers.print(
        &object(path, &apps, &found.warnings, &failures),
        &format!("{heading}\n{}", listed::table(&apps)),
    );
    match (failures.is_empty(), options.log_format()) {
        (true, _) => Ok(ExitCode::SUCCESS),
        (false, LogFormat::Json) => Ok(Failure::usage(String::new()).code()),
        (false, LogFormat::Text) => {
            let told = failures.iter().map(|(name, why)| format!("{name}: {why}"));
            Err(Failure::usage(told.collect::<Vec<_>>().join("\n")))
        }
    }
}

fn heading(path: &Path, apps: &[Listed], is_fine: bool) -> String {
    let apps = match apps.len() {
        1 => "1 app".to_owned(),
        count => format!("{count} apps"),
    };
    let verdict = if is_fine { "all is fine" } else { "not all of it can be started" };
    format!("{}: {apps}, {verdict}", path.display())
}

fn object(
    path: &Path,
    apps: &[Listed],
    findings: &[Finding],
    failures: &[(String, Failure)],
) -> Value {
    let failed = failures.iter().map(|(name, why)| {
        json!({ "level": "error", "setting": format!("app.{name}"), "message": why.to_string() })
    });
    let findings: Vec<_> = findings.iter().map(Finding::as_json).chain(failed).collect();
    let ok = findings.iter().all(|finding| finding["level"] != "error");
    json!({
        "file": path,
        "ok": ok,
        "apps": apps.iter().map(Listed::as_json).collect::<Vec<_>>(),
        "findings": findings,
    })
}
