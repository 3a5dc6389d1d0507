//! `forkyard unstartup`: takes back what `forkyard startup` has done.

use std::process::ExitCode;

use clap::Parser;

use super::service::{folder, say, scope};
use crate::boot::{Foreign, InstallError, Removed, Scope, Systemctl, install, systemctl, unit};
use crate::exit_code::Failure;

/// What `forkyard unstartup` can be told.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Unstartup {
    /// For your own systemd, not the machine's; the default unless you are root
    #[arg(long)]
    user: bool,

    /// Have systemd look at its units anew, too
    #[arg(long)]
    now: bool,

    /// Remove the unit though somebody else has written it
    #[arg(long)]
    force: bool,
}

/// Removes the template unit and the links to it. What runs goes on running.
pub(crate) fn unstartup(options: &Unstartup) -> Result<ExitCode, Failure> {
    let scope = scope(options.user.then_some(Scope::User));
    let dir = folder(scope)?;
    let foreign = if options.force { Foreign::Overwrite } else { Foreign::LeaveAlone };
    let removed = install::remove(&dir, foreign).map_err(|error| match error {
        InstallError::Foreign { .. } => Failure::not_done(error.to_string()),
        InstallError::Io { .. } => Failure::unexpected("failed to remove the unit", &error),
    })?;
    if removed == Removed::default() {
        say(&format!("there is no {} in {}\n", unit::FILE, dir.display()));
        return Ok(ExitCode::SUCCESS);
    }
    say(&what_was_removed(&removed));
    let command = Systemctl::reload_units(scope);
    match (options.now, systemctl::is_there()) {
        (true, true) => {
            say(&format!("{}\n", command.line()));
            command.run().map_err(|error| Failure::not_done(error.to_string()))?;
        }
        (false, true) => {
            say(&format!("now run (or have it done by --now):\n    {}\n", command.line()))
        }
        (_, false) => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn what_was_removed(removed: &Removed) -> String {
    let template = removed.template.iter().map(|path| format!("{}: removed\n", path.display()));
    let apps = removed
        .apps
        .iter()
        .map(|app| format!("{app} is not started at boot any more; if it runs, it goes on\n"));
    template.chain(apps).collect()
}
