//! The unit by which systemd runs apps: one template, an instance for each app.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::escape::{instance, word};

/// The template's file.
pub(crate) const FILE: &str = "forkyard@.service";

/// What instances are called: this, the escaped name, [`SUFFIX`].
pub(crate) const PREFIX: &str = "forkyard@";
/// See [`PREFIX`].
pub(crate) const SUFFIX: &str = ".service";

/// The first line of what we have written, by which we know it.
pub(crate) const MARK: &str = "# Written by `forkyard startup`.";

/// How long a hung primary goes unnoticed at most.
const WATCHDOG: Duration = Duration::from_secs(30);

/// How much longer than a stop takes at most by default (`--drain-timeout`, `--term-timeout`)
/// systemd waits. An app that may take longer says so when it stops.
const STOP_LIMIT: Duration = Duration::from_secs(45);

/// How long an app may take to be ready, and `systemctl reload`.
const START_LIMIT: Duration = Duration::from_secs(300);

/// Whose systemd it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The machine's.
    System,
    /// That of one user's session.
    User,
}

/// What a template is made of.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) scope: Scope,
    /// This command.
    pub(crate) binary: String,
    /// What has to be as it is here, so that shell and service find the same apps.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Template {
    /// The unit file.
    pub(crate) fn text(&self) -> String {
        let Self { scope, binary, .. } = self;
        // `:` keeps systemd from putting in for `$`.
        let (command, watchdog) = (word(&format!(":{binary}")), WATCHDOG.as_secs());
        let (start, stop) = (START_LIMIT.as_secs(), STOP_LIMIT.as_secs());
        let assignments = self.environment.iter();
        let assignments = assignments
            .map(|(name, value)| format!("Environment={}\n", word(&format!("{name}={value}"))));
        let (environment, network) = (assignments.collect::<String>(), scope.network());
        let target = scope.target();
        format!(
            "{MARK}
# It puts its own version back. Your changes belong into `systemctl edit forkyard@NAME`.

[Unit]
Description=Forkyard app %I
{network}
[Service]
Type=notify
NotifyAccess=main
ExecStart={command} run --app %I
ExecReload={command} reload %I
Restart=on-failure
RestartSec=1
# Wrong settings, or no such app: that does not mend by itself.
RestartPreventExitStatus=2 5
# The workers are asked to leave by the primary.
KillMode=mixed
WatchdogSec={watchdog}
TimeoutStartSec={start}
# An app that may take longer says so when it stops.
TimeoutStopSec={stop}
# The primary takes what it may; workers begin with the first number.
LimitNOFILE=1024:524288
Delegate=yes
{environment}
[Install]
WantedBy={target}
"
        )
    }
}

impl Scope {
    fn network(self) -> &'static str {
        match self {
            Self::System => "Wants=network-online.target\nAfter=network-online.target\n",
            // Users' systemd knows nothing of it.
            Self::User => "",
        }
    }

    fn target(self) -> &'static str {
        match self {
            Self::System => "multi-user.target",
            Self::User => "default.target",
        }
    }

    /// The command by which it is told things.
    pub(crate) fn systemctl(self) -> &'static [&'static str] {
        match self {
            Self::System => &["systemctl"],
            Self::User => &["systemctl", "--user"],
        }
    }

    /// Where its administrator puts units; `None` where there is no home.
    pub(crate) fn folder(self, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        let named = |name| variable(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
        match self {
            Self::System => Some(Path::new("/etc/systemd/system").to_path_buf()),
            Self::User => {
                let config = named("XDG_CONFIG_HOME");
                let config = config.or_else(|| Some(named("HOME")?.join(".config")));
                Some(config?.join("systemd/user"))
            }
        }
    }
}

/// The unit of an app.
pub(crate) fn of_app(app: &str) -> String {
    format!("{PREFIX}{}{SUFFIX}", instance(app))
}

/// The app of a unit.
pub(crate) fn app_of(unit: &str) -> Option<String> {
    let instance = unit.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    super::escape::name(instance).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(scope: Scope, environment: &[(&'static str, &str)]) -> Template {
        let environment = environment.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let environment = environment.collect();
        Template { scope, binary: "/usr/local/bin/forkyard".into(), environment }
    }

    #[test]
    fn the_units_of_a_machine_and_of_a_user() {
        insta::assert_snapshot!("system", template(Scope::System, &[]).text());
        let environment = [("FORKYARD_HOME", "/srv/my apps"), ("FORKYARD_RUNTIME_DIR", "/run/x")];
        insta::assert_snapshot!("user", template(Scope::User, &environment).text());
    }

    #[test]
    fn units_are_where_their_administrator_puts_them() {
        let folder = |scope: Scope, variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| OsString::from(value))
            };
            scope.folder(variable).map(|dir| dir.display().to_string())
        };
        let home = ("HOME", "/home/jo");
        let system = Some("/etc/systemd/system".to_owned());
        assert_eq!(folder(Scope::System, &[home]), system);
        let user = Some("/home/jo/.config/systemd/user".to_owned());
        assert_eq!(folder(Scope::User, &[home]), user);
        assert_eq!(folder(Scope::User, &[home, ("XDG_CONFIG_HOME", "")]), user);
        let user = Some("/conf/systemd/user".to_owned());
        assert_eq!(folder(Scope::User, &[home, ("XDG_CONFIG_HOME", "/conf")]), user);
        assert_eq!(folder(Scope::User, &[]), None);
    }

    #[test]
    fn an_app_has_one_unit_and_is_found_by_it() {
        assert_eq!(of_app("my-app"), "forkyard@my\\x2dapp.service");
        assert_eq!(app_of(&of_app("my-app")).as_deref(), Some("my-app"));
        for other in ["forkyard@.service", "forkyard.service", "nginx@web.service"] {
            assert_eq!(app_of(other), None, "{other}");
        }
    }
}
