//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use forkyard::PolicyRule;

use crate::commands::{
    Check, Completions, Delete, Env, List, Man, Restart, Saved, Scale, Show, Signal, Start,
    Startup, Stop, Targets, Unstartup,
};
use crate::control::ControlRule;
use crate::import::Import;
use crate::logs::LogsOptions;
use crate::settings::{App, Argument, Text, Workers};

/// Run a server on all cores of a machine: many workers behind one port, restarted when
/// they crash.
#[derive(Debug, Parser)]
#[command(
    name = "forkyard",
    version,
    after_help = "Exit codes: 0 stopped as asked, 1 unexpected error, 2 usage, \
    3 the app failed (its workers crashed too often), 4 a reload or an upgrade failed and all \
    goes on as before, 5 no such app is running, 126 the program cannot be executed, \
    127 the program or its interpreter was not found."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a program in the foreground, with many workers behind one port
    Run(Box<Run>),
    /// Start apps in the background: a program, a settings file, or what was started before
    Start(Box<Start>),
    /// List the apps and how they are
    #[command(visible_aliases = ["list", "status"])]
    Ls(List),
    /// Show all that is known of apps
    Show(Show),
    /// Show the environment that apps' workers get
    Env(Env),
    /// Stop apps; they stay known, and can be started again
    Stop(Stop),
    /// End apps and start them again; or replace the worker of one slot
    Restart(Restart),
    /// Replace all workers of running apps by new ones, and wait for the end
    Reload(Targets),
    /// Have an app keep more or fewer workers
    Scale(Scale),
    /// Stop apps and forget them
    Delete(Delete),
    /// Send a signal to the workers of apps
    Signal(Signal),
    /// Empty the log files of apps
    Flush(Targets),
    /// Keep what runs now, for `resurrect`
    Save(Saved),
    /// Start what was saved and does not run
    Resurrect(Saved),
    /// Have running apps' primaries execute this command as it is on disk now, and wait for
    /// the end; the workers stay
    Upgrade(Targets),
    /// Have systemd start apps when the machine boots: writes a unit, and says what to run
    Startup(Startup),
    /// Take back what `startup` has done; apps that run go on
    Unstartup(Unstartup),
    /// Show what apps wrote and what happened to them
    Logs(LogsOptions),
    /// Make a settings file of what PM2 was told, and say what it has not
    Import(Import),
    /// Say what a settings file would start, or what is wrong with it
    Check(Check),
    /// Print the lines by which a shell completes this command, names of apps included
    Completions(Completions),
    /// Print a manual page, or write all of them
    Man(Man),
    /// Serve a page from Rust workers inside this binary, to see it work without Node
    Demo(Demo),
}

impl Verb {
    /// How to print what goes wrong.
    pub(crate) fn log_format(&self) -> LogFormat {
        match self {
            Self::Run(run) => run.log_format(),
            Self::Start(start) => start.log_format(),
            Self::Ls(list) => list.log_format(),
            Self::Env(env) => env.targets.log_format(),
            Self::Show(show) => show.targets.log_format(),
            Self::Stop(stop) => stop.targets.log_format(),
            Self::Restart(restart) => restart.targets.log_format(),
            Self::Scale(scale) => scale.targets().log_format(),
            Self::Delete(delete) => delete.targets.log_format(),
            Self::Signal(signal) => signal.targets.log_format(),
            Self::Save(saved) | Self::Resurrect(saved) => saved.log_format(),
            Self::Reload(targets) | Self::Flush(targets) | Self::Upgrade(targets) => {
                targets.log_format()
            }
            Self::Import(import) if import.json => LogFormat::Json,
            Self::Import(_) => LogFormat::Text,
            Self::Demo(demo) => demo.log_format,
            Self::Check(check) => check.log_format(),
            Self::Startup(_)
            | Self::Unstartup(_)
            | Self::Logs(_)
            | Self::Completions(_)
            | Self::Man(_) => LogFormat::Text,
        }
    }
}

/// What `forkyard run` can be told.
#[derive(Clone, Debug, Parser)]
#[command(
    override_usage = "forkyard run [OPTIONS] PROGRAM [ARGS]...\n       forkyard run --app NAME"
)]
pub(crate) struct Run {
    /// The app's name; by default PROGRAM's without its ending
    #[arg(long)]
    pub(crate) name: Option<String>,

    /// Run the app of that name as it was last started by `forkyard start`, here in the
    /// foreground
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "program"])]
    app: Option<String>,

    /// Be a background app: in a session of its own.
    #[arg(long, hide = true, requires = "app")]
    pub(crate) detached: bool,

    /// Do without the control socket, by which `forkyard reload` and `upgrade` find the app
    #[arg(long)]
    no_control: bool,

    #[command(flatten)]
    settings: App,

    /// The program's file, or its name in PATH, and its arguments
    // One list, because only the last positional may be followed by what looks like options.
    #[arg(required_unless_present = "app", num_args = 1.., trailing_var_arg = true)]
    program: Vec<OsString>,
}

impl Run {
    /// The app that is run by its name.
    pub(crate) fn app_name(&self) -> Option<&str> {
        self.app.as_deref()
    }

    /// Whether something is set here, and not where the app is kept. How this very command
    /// prints is no setting of the app.
    pub(crate) fn has_settings(&self) -> bool {
        let log = self.settings.log.clone().without_format();
        App { log, ..self.settings.clone() } != App::default()
    }

    /// How to print what happens and what workers write.
    pub(crate) fn log_format(&self) -> LogFormat {
        self.settings.log.format().unwrap_or(LogFormat::Text)
    }

    /// The settings of an app that is named by its program.
    pub(crate) fn settings(&self) -> App {
        let mut program = self.program.iter().cloned();
        let named = program.next().map(PathBuf::from);
        let args = program.map(Argument::from).collect();
        App { program: named, args, ..self.settings.clone() }
    }

    pub(crate) fn control_rule(&self) -> ControlRule {
        if self.no_control { ControlRule::LeaveOut } else { ControlRule::Serve }
    }
}

/// What `forkyard demo` can be told.
#[derive(Debug, Parser)]
pub(crate) struct Demo {
    /// How many workers: a number, or `max` for one a core
    #[arg(short, long, value_name = "N|max", default_value = "max", allow_negative_numbers = true)]
    pub(crate) workers: Text<Workers>,

    /// The port to serve on, on this machine only
    #[arg(short, long, default_value_t = 8000)]
    pub(crate) port: u16,

    /// How connections reach the workers, as for `forkyard run`
    #[arg(long, value_name = "POLICY", default_value = "auto")]
    pub(crate) policy: Text<PolicyRule>,

    /// How to print what happens
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn arguments_after_the_program_are_the_programs() {
        let args = Args::parse_from(["forkyard", "run", "-w", "2", "app.js", "-w", "9", "--x"]);
        let Verb::Run(run) = args.verb else { panic!("not run") };
        let app = run.settings();
        assert_eq!(app.workers.map(|workers| workers.to_string()).as_deref(), Some("2"));
        assert_eq!(app.program.as_deref(), Some(Path::new("app.js")));
        let args: Vec<_> = app.args.iter().map(|arg| arg.0.as_os_str()).collect();
        assert_eq!(args, ["-w", "9", "--x"]);
    }

    #[test]
    fn an_unknown_option_is_no_program() {
        let line = ["forkyard", "run", "--no-such-option", "app.js"];
        let error = Args::try_parse_from(line).unwrap_err();
        assert!(error.to_string().contains("--no-such-option"), "{error}");
    }
}
