//! `forkyard startup`: has the system start apps when it boots.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use super::service::{folder, say, scope};
use super::targets::conversation;
use crate::apps::{KnownApp, known};
use crate::boot::{
    Foreign, InstallError, Put, Scope, Systemctl, Template, install, systemctl, unit,
};
use crate::exit_code::Failure;
use crate::records::Wanted;

/// What `forkyard startup` can be told.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Startup {
    /// The apps to start; by default those that are meant to run
    apps: Vec<String>,

    /// For your own systemd, not the machine's; the default unless you are root
    #[arg(long)]
    user: bool,

    /// Run the commands, too
    #[arg(long)]
    now: bool,

    /// Print the unit, and do nothing
    #[arg(long, conflicts_with = "now")]
    print: bool,

    /// Write the unit though somebody else has written one of that name
    #[arg(long)]
    force: bool,
}

/// An app that is to be started at boot.
#[derive(Clone, Debug, PartialEq, Eq)]
struct App {
    name: String,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Runs,
    Rests,
    /// Nobody has started it in the background, so there is nothing that a unit could start.
    Unknown,
}

/// Writes the template unit, and says or does what is left to do.
pub(crate) fn startup(options: &Startup) -> Result<ExitCode, Failure> {
    let scope = scope(options.user.then_some(Scope::User));
    let template = template(scope)?;
    if options.print {
        say(&template.text());
        return Ok(ExitCode::SUCCESS);
    }
    if !systemctl::is_there() {
        say(&without_systemd(&template.binary));
        return Ok(ExitCode::SUCCESS);
    }
    let dir = folder(scope)?;
    let foreign = if options.force { Foreign::Overwrite } else { Foreign::LeaveAlone };
    let put = install::put(&dir, &template.text(), foreign).map_err(|error| not_put(&error))?;
    say(&what_was_put(put, &dir));
    let apps = apps(&options.apps, &conversation(known())?);
    let commands = commands(scope, &apps);
    match options.now {
        true => run(&commands)?,
        false => say(&what_to_run(&commands)),
    }
    say(&hints(scope, &apps));
    Ok(ExitCode::SUCCESS)
}

fn template(scope: Scope) -> Result<Template, Failure> {
    let binary = forkyard_sys::image::own_path()
        .map_err(|error| Failure::unexpected("failed to find this command's own file", &error))?;
    let binary = text(&binary)?;
    // What shell and service have in common anyway is not named.
    let names: &[&'static str] = match scope {
        Scope::System => &["FORKYARD_HOME", "FORKYARD_RUNTIME_DIR"],
        Scope::User => &["FORKYARD_HOME", "FORKYARD_RUNTIME_DIR", "XDG_STATE_HOME"],
    };
    let set = names.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
    let set = set.filter(|(_, value)| !value.is_empty());
    let absolute = set.map(|(name, value)| {
        let path = PathBuf::from(value);
        let path = std::path::absolute(&path).unwrap_or(path);
        Ok((name, text(&path)?))
    });
    Ok(Template { scope, binary, environment: absolute.collect::<Result<_, Failure>>()? })
}

/// A unit file is text.
fn text(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::usage(format!(
            "failed to name {} in a unit: it is no UTF-8; move it",
            path.display()
        ))
    })
}

fn not_put(error: &InstallError) -> Failure {
    match error {
        InstallError::Foreign { .. } => Failure::not_done(error.to_string()),
        InstallError::Io { .. } => Failure::unexpected("failed to write the unit", error),
    }
}

/// Those that were named, or all that are kept and are meant to run.
fn apps(named: &[String], known: &[KnownApp]) -> Vec<App> {
    let is_meant = |app: &&KnownApp| match named.is_empty() {
        true => app.kept().is_some_and(|record| record.wanted == Wanted::Running),
        false => named.contains(&app.name),
    };
    let state = |app: &KnownApp| match (&app.record, &app.primary) {
        (None, _) => State::Unknown,
        (Some(_), Some(_)) => State::Runs,
        (Some(_), None) => State::Rests,
    };
    let found = known.iter().filter(is_meant);
    let mut apps: Vec<_> =
        found.map(|app| App { name: app.name.clone(), state: state(app) }).collect();
    let unknown = named.iter().filter(|name| known.iter().all(|app| app.name != **name));
    apps.extend(unknown.map(|name| App { name: name.clone(), state: State::Unknown }));
    apps.sort_by(|a, b| a.name.cmp(&b.name));
    apps.dedup_by(|a, b| a.name == b.name);
    apps
}

/// One that runs already is not started a second time.
fn commands(scope: Scope, apps: &[App]) -> Vec<Systemctl> {
    let enable = |app: &App| {
        let unit = unit::of_app(&app.name);
        match app.state {
            State::Runs | State::Unknown => Systemctl::enable(scope, &unit),
            State::Rests => Systemctl::enable_now(scope, &unit),
        }
    };
    [Systemctl::reload_units(scope)].into_iter().chain(apps.iter().map(enable)).collect()
}

fn run(commands: &[Systemctl]) -> Result<(), Failure> {
    for command in commands {
        say(&format!("{}\n", command.line()));
        command.run().map_err(|error| Failure::not_done(error.to_string()))?;
    }
    Ok(())
}

fn what_was_put(put: Put, dir: &Path) -> String {
    let path = dir.join(unit::FILE);
    let what = match put {
        Put::Written => "written",
        Put::Updated => "brought up to date",
        Put::Unchanged => "up to date already",
    };
    format!("{}: {what}\n", path.display())
}

fn what_to_run(commands: &[Systemctl]) -> String {
    let lines = commands.iter().map(|command| format!("    {}\n", command.line()));
    format!("now run (or have it done by --now):\n{}", lines.collect::<String>())
}

fn hints(scope: Scope, apps: &[App]) -> String {
    let mut text = String::new();
    for App { name, state } in apps {
        let start = Systemctl::start(scope, &unit::of_app(name)).line();
        // Writing to a string cannot fail.
        let _ = match state {
            State::Rests => Ok(()),
            State::Runs => writeln!(
                text,
                "{name} runs by itself until it is stopped; after that `{start}` has systemd run it"
            ),
            State::Unknown => writeln!(
                text,
                "{name} cannot be started before it is known: `forkyard start --name {name} ...`"
            ),
        };
    }
    if apps.is_empty() {
        let example = Systemctl::enable_now(scope, "forkyard@NAME").line();
        let _ = writeln!(text, "no app is meant to run; for each that is to be started: {example}");
    }
    if scope == Scope::User {
        text.push_str(
            "your systemd runs while you are logged in; `loginctl enable-linger` has it run from \
             boot on\n",
        );
    }
    text
}

fn without_systemd(binary: &str) -> String {
    format!(
        "this machine has no systemd (systemctl is not in PATH); to have cron start what \
         `forkyard save` has saved, put this line into `crontab -e`:\n    @reboot {} resurrect\n",
        binary.replace(' ', "\\ ").replace('%', "\\%")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Record;

    fn app(name: &str, state: State) -> App {
        App { name: name.to_owned(), state }
    }

    #[test]
    fn what_runs_is_enabled_and_what_rests_is_started_too() {
        let apps = [app("api", State::Runs), app("my-app", State::Rests), app("x", State::Unknown)];
        let lines: Vec<_> = commands(Scope::System, &apps).iter().map(Systemctl::line).collect();
        assert_eq!(
            lines,
            [
                "systemctl daemon-reload",
                "systemctl enable forkyard@api.service",
                "systemctl enable --now 'forkyard@my\\x2dapp.service'",
                "systemctl enable forkyard@x.service"
            ]
        );
        let hints = hints(Scope::System, &apps);
        assert_eq!(hints.lines().count(), 2, "{hints}");
    }

    #[test]
    fn what_is_meant_to_run_is_started_at_boot() {
        let record = |name: &str, wanted| {
            let mut record = Record::new(name, Default::default(), "/".into());
            record.wanted = wanted;
            record
        };
        let kept = |name: &str, wanted| KnownApp {
            name: name.to_owned(),
            record: Some(Ok(record(name, wanted))),
            primary: None,
        };
        let known = [kept("resting", Wanted::Stopped), kept("web", Wanted::Running)];
        assert_eq!(apps(&[], &known), [app("web", State::Rests)]);
        let named = ["resting", "other", "other"].map(str::to_owned);
        let expected = [app("other", State::Unknown), app("resting", State::Rests)];
        assert_eq!(apps(&named, &known), expected);
    }

    #[test]
    fn a_machine_without_systemd_is_told_of_cron() {
        let text = without_systemd("/opt/my apps/100%/forkyard");
        assert!(text.contains("@reboot /opt/my\\ apps/100\\%/forkyard resurrect"), "{text}");
    }
}
