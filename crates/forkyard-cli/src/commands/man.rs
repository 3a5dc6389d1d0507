//! `forkyard man`: the manual pages.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Command, CommandFactory, Parser};
use clap_mangen::Man as Page;

use crate::args::Args;
use crate::exit_code::Failure;

/// What `forkyard man` can be told.
#[derive(Clone, Debug, Parser)]
#[command(after_help = "To read one: forkyard man start | man -l -")]
pub(crate) struct Man {
    /// Of which command; by default of forkyard itself
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    command: Option<String>,

    /// Write a page for each command into this folder, as forkyard-start.1
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints or writes them.
pub(crate) fn man(options: &Man) -> Result<ExitCode, Failure> {
    let command = built();
    match &options.out {
        Some(dir) => write_all(command, dir).map_err(|error| {
            Failure::unexpected(&format!("failed to write pages into {}", dir.display()), &error)
        })?,
        None => {
            let page = page(&command, options.command.as_deref())?;
            // Whoever reads may have read enough.
            let _ = io::stdout().lock().write_all(&page);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// With the full name of each command.
fn built() -> Command {
    let mut command = Args::command();
    command.build();
    command
}

fn page(command: &Command, named: Option<&str>) -> Result<Vec<u8>, Failure> {
    let meant = match named {
        None => Some(command),
        Some(name) => command.find_subcommand(name).filter(|verb| !verb.is_hide_set()),
    };
    let meant = meant.ok_or_else(|| {
        let name = named.unwrap_or_default();
        Failure::usage(format!("there is no command {name:?}; `forkyard --help` lists them"))
    })?;
    let mut page = Vec::new();
    let rendered = Page::new(meant.clone()).render(&mut page);
    rendered.map_err(|error| Failure::unexpected("failed to write the page", &error))?;
    Ok(page)
}

fn write_all(command: Command, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    clap_mangen::generate_to(command, dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(named: Option<&str>) -> String {
        String::from_utf8(page(&built(), named).unwrap()).unwrap()
    }

    #[test]
    fn each_command_has_its_page() {
        assert!(text(None).contains("forkyard\\-start"));
        let start = text(Some("start"));
        assert!(start.contains("forkyard\\-start") && start.contains("environment"), "{start}");
        assert!(page(&built(), Some("strat")).unwrap_err().to_string().contains("strat"));
    }

    #[test]
    fn a_folder_gets_all_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let pages = dir.path().join("share/man/man1");
        write_all(built(), &pages).unwrap();
        for name in ["forkyard.1", "forkyard-run.1", "forkyard-check.1", "forkyard-man.1"] {
            assert!(pages.join(name).exists(), "{name}");
        }
    }
}
