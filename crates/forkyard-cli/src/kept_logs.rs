//! `forkyard logs`: whose logs there are, in the home folder or where the apps have them instead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use forkyard_control::folder::file_name;

use crate::exit_code::Failure;
use crate::home::{home_dir, log_dir};
use crate::logs::{self, AppLogs, LogsOptions};
use crate::records::Store;

/// Shows the logs of the apps that are named, or of all.
pub(crate) fn show(options: &LogsOptions) -> Result<ExitCode, Failure> {
    let home = home_dir()?;
    for name in &options.apps {
        if !folder_of(&home, name).is_dir() {
            return Err(unknown(&home, name));
        }
    }
    logs::show(|| wanted(&home, &options.apps), options)
}

fn wanted(home: &Path, names: &[String]) -> Vec<AppLogs> {
    let names = if names.is_empty() { &all(home) } else { names };
    let logs = |name: &String| AppLogs { name: name.clone(), folder: folder_of(home, name) };
    names.iter().map(logs).collect()
}

/// Where its logs are, by what its settings were when it last came up.
fn folder_of(home: &Path, name: &str) -> PathBuf {
    let record = Store::at(home).load(name).ok().flatten();
    let elsewhere =
        record.and_then(|record| Some(record.directory.join(record.settings.log.dir()?)));
    elsewhere.unwrap_or_else(|| log_dir(home, name))
}

/// The apps that have logs.
fn all(home: &Path) -> Vec<String> {
    let entries = fs::read_dir(home.join("logs")).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<_> =
        folders.filter_map(|folder| folder.file_name().into_string().ok()).collect();
    // What is called otherwise was not put there by an app.
    names.retain(|name| file_name(name) == *name);
    names.sort();
    names
}

fn unknown(home: &Path, name: &str) -> Failure {
    let there_are = match all(home).as_slice() {
        [] => "there are none of any app".to_owned(),
        names => format!("there are those of {}", names.join(", ")),
    };
    Failure::no_such_app(format!(
        "failed to find logs of {name} in {}: {there_are}",
        home.join("logs").display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_apps_with_logs_are_found() {
        let home = tempfile::tempdir().unwrap();
        assert!(wanted(home.path(), &[]).is_empty());
        let message = unknown(home.path(), "shop").to_string();
        assert!(message.contains("shop") && message.contains("none of any app"), "{message}");
        for name in ["web", "api"] {
            fs::create_dir_all(log_dir(home.path(), name)).unwrap();
        }
        let names: Vec<_> = wanted(home.path(), &[]).into_iter().map(|app| app.name).collect();
        assert_eq!(names, ["api", "web"]);
        let message = unknown(home.path(), "shop").to_string();
        assert!(message.contains("those of api, web"), "{message}");
        let named = wanted(home.path(), &["web".into()]);
        assert_eq!(named[0].folder, log_dir(home.path(), "web"));
    }
}
