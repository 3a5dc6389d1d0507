//! `forkyard completions`: the lines by which a shell completes this command.

use std::env;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use clap_complete::env::Shells;

use crate::completion::VARIABLE;
use crate::exit_code::Failure;

/// What `forkyard completions` can be told.
#[derive(Clone, Debug, Parser)]
#[command(after_help = "bash:  source <(forkyard completions bash)       in ~/.bashrc\n\
    zsh:   source <(forkyard completions zsh)        in ~/.zshrc, after compinit\n\
    fish:  forkyard completions fish | source        in ~/.config/fish/config.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Whose completion knows how to ask a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Zsh,
}

impl Shell {
    fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Elvish => "elvish",
            Self::Fish => "fish",
            Self::Zsh => "zsh",
        }
    }
}

/// Prints them.
pub(crate) fn completions(options: &Completions) -> Result<ExitCode, Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::unexpected("failed to write the completions", error)
    };
    let shells = Shells::builtins();
    let Some(shell) = shells.completer(options.shell.name()) else {
        return Err(Failure::because("this shell's completion is not there".into()));
    };
    // A shell that finds another forkyard in PATH would ask one that may answer otherwise.
    let image = env::current_exe().map_err(|error| failed(&error))?;
    let image = image.to_string_lossy();
    let mut out = anstream::stdout().lock();
    shell
        .write_registration(VARIABLE, "forkyard", "forkyard", &image, &mut out)
        .map_err(|error| failed(&error))?;
    Ok(ExitCode::SUCCESS)
}
