//! `forkyard env`: the environment that apps' workers get.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use forkyard_control::types::Secrets;
use serde_json::json;

use super::Targets;
use crate::answers::broken_off;
use crate::apps::KnownApp;
use crate::env_file;
use crate::exit_code::Failure;
use crate::settings::App;
use crate::settings::secrets::{Source, in_variable};

/// What `forkyard env` can be told.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Env {
    #[command(flatten)]
    pub(crate) targets: Targets,

    /// Show passwords, keys and what files of variables contain, too
    #[arg(long)]
    show_secrets: bool,
}

/// Variables with where each comes from.
type Variables = BTreeMap<String, (String, Source)>;

/// Where an app is at home: what it is started with besides its settings.
struct Surroundings {
    variables: BTreeMap<String, String>,
    directory: PathBuf,
}

/// Prints the variables of each, in the order of their names.
pub(crate) fn env(options: &Env) -> Result<ExitCode, Failure> {
    options.targets.each(async |app, answers| {
        let settings = settings(&app).await?;
        let variables = variables(&settings, surroundings(&app)?)?;
        let shown: BTreeMap<_, _> = variables
            .iter()
            .map(|(name, (value, source))| match options.show_secrets {
                true => (name, value.as_str().into()),
                false => (name, in_variable(name, value, *source)),
            })
            .collect();
        let lines: Vec<_> = shown.iter().map(|(name, value)| format!("{name}={value}")).collect();
        answers.print(&json!({ "environment": shown }), &lines.join("\n"));
        Ok(())
    })
}

/// Those in force; of an app that does not run, those that it had.
async fn settings(app: &KnownApp) -> Result<App, Failure> {
    let Some(client) = app.client() else {
        return match &app.record {
            Some(Ok(record)) => Ok(record.settings.clone()),
            Some(Err(why)) => Err(Failure::because(why.clone())),
            None => Ok(App::default()),
        };
    };
    let settings = client.settings(Secrets::Show).await;
    let settings = settings.map_err(|error| broken_off("failed to ask for settings", &error))?;
    serde_json::from_value(settings).map_err(|error| {
        Failure::unexpected("failed to understand the settings; try `forkyard upgrade`", &error)
    })
}

/// Of an app that is somebody's in the foreground, its primary's own.
fn surroundings(app: &KnownApp) -> Result<Surroundings, Failure> {
    if let Some(record) = app.kept() {
        let (variables, directory) = (record.environment.clone(), record.directory.clone());
        return Ok(Surroundings { variables, directory });
    }
    let pid = app.primary.as_ref().map(|found| found.pid).unwrap_or_default();
    of_process(&Path::new("/proc").join(pid.to_string()))
        .map_err(|error| Failure::unexpected("failed to look at the primary's environment", &error))
}

fn of_process(process: &Path) -> io::Result<Surroundings> {
    let environment = fs::read(process.join("environ"))?;
    let variable = |bytes: &[u8]| {
        let (name, value) = std::str::from_utf8(bytes).ok()?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    let variables = environment.split(|byte| *byte == 0).filter_map(variable).collect();
    Ok(Surroundings { variables, directory: fs::read_link(process.join("cwd"))? })
}

/// In the order of their rank: what comes later counts.
fn variables(settings: &App, around: Surroundings) -> Result<Variables, Failure> {
    let mut variables = Variables::new();
    let own = around.variables.into_iter();
    variables.extend(own.map(|(name, value)| (name, (value, Source::Elsewhere))));
    for file in &settings.env_file {
        let found = env_file::read(&around.directory.join(file), file)?;
        variables.extend(found.into_iter().map(|(name, value)| (name, (value, Source::EnvFile))));
    }
    let set = settings.env.of(None);
    variables.extend(set.map(|set| (set.name.clone(), (set.value.clone(), Source::Elsewhere))));
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_outrank_files_and_files_outrank_the_surroundings() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("a.env"), "A=file\nB=file\n").unwrap();
        let variables_around =
            ["A", "B", "C"].map(|name| (name.to_owned(), "around".to_owned())).into();
        let around =
            Surroundings { variables: variables_around, directory: temp.path().to_owned() };
        let settings = json!({ "env_file": "a.env", "env": { "A": "settings" } });
        let variables = variables(&serde_json::from_value(settings).unwrap(), around).unwrap();
        let expected = [
            ("A", "settings", Source::Elsewhere),
            ("B", "file", Source::EnvFile),
            ("C", "around", Source::Elsewhere),
        ];
        let expected = expected.map(|(name, value, source)| (name.into(), (value.into(), source)));
        assert_eq!(variables, Variables::from(expected));
    }
}
