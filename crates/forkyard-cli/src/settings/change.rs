//! What has changed between two versions of an app's settings, and what it takes for it to hold.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::{App, secrets};

/// What it takes for a changed setting to hold, the most last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Needs {
    /// It is looked at when the app is started or meant the next time.
    Nothing,
    /// New workers: a reload.
    Roll,
    /// A primary that reads it anew, by executing itself again as for an upgrade; then new workers.
    NewPrimary,
    /// The app's end, and a new start.
    Restart,
}

/// What each setting needs, or each in a table. A test holds that there is none without.
///
/// The next image of a primary reads its settings anew, and takes over listeners and channels as
/// they are. What is theirs takes a restart.
const NEEDS: &[(&str, Needs)] = &[
    // What a worker is started from is found out for each generation.
    ("program", Needs::Roll),
    ("args", Needs::Roll),
    ("workers", Needs::Roll),
    ("cwd", Needs::Roll),
    ("env", Needs::Roll),
    ("env_file", Needs::Roll),
    ("interpreter", Needs::Roll),
    ("interpreter_args", Needs::Roll),
    ("drain.no_agent", Needs::Roll),
    ("user", Needs::Roll),
    ("group", Needs::Roll),
    ("no_new_privileges", Needs::Roll),
    ("port", Needs::Roll),
    ("instance_var", Needs::Roll),
    ("limits.nice", Needs::Roll),
    ("limits.open_files", Needs::Roll),
    // What the primary does with workers.
    ("pin", Needs::NewPrimary),
    ("start_timeout", Needs::NewPrimary),
    ("shutdown_delay", Needs::NewPrimary),
    ("upgrade_timeout", Needs::NewPrimary),
    ("restart", Needs::NewPrimary),
    ("ready", Needs::NewPrimary),
    ("drain", Needs::NewPrimary),
    ("roll.surge", Needs::NewPrimary),
    ("roll.second", Needs::NewPrimary),
    ("limits.memory", Needs::NewPrimary),
    ("log", Needs::NewPrimary),
    ("watch", Needs::NewPrimary),
    ("watch_quiet", Needs::NewPrimary),
    ("schedule", Needs::NewPrimary),
    ("time_zone", Needs::NewPrimary),
    // What listeners, channels and waiting workers are.
    ("policy", Needs::Restart),
    ("listen", Needs::Restart),
    ("serialization", Needs::Restart),
    ("roll.spares", Needs::Restart),
    (DIRECTORY, Needs::Restart),
    // The control group is made when the app is started.
    ("limits.cgroup", Needs::Restart),
    // What only commands look at.
    ("depends_on", Needs::Nothing),
    ("groups", Needs::Nothing),
];

/// Where relative paths lead from, which is no setting.
const DIRECTORY: &str = "directory";

/// A setting that has changed. Its values are as they may be shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// With the tables it is in: `restart.limit`.
    pub(crate) setting: String,
    /// Nothing if it was not set.
    pub(crate) old: Option<Value>,
    /// Nothing if it is not set any more.
    pub(crate) new: Option<Value>,
    pub(crate) needs: Needs,
}

impl Needs {
    /// What a setting needs; the more exact entry counts.
    pub(super) fn of(setting: &str) -> Self {
        let fits = |name: &str| {
            setting.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let fitting = NEEDS.iter().filter(|(name, _)| fits(name));
        let nearest = fitting.max_by_key(|(name, _)| name.len());
        // Nothing is lost by too much.
        nearest.map_or(Self::Restart, |(_, needs)| *needs)
    }

    /// As machines read it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Roll => "roll",
            Self::NewPrimary => "primary",
            Self::Restart => "restart",
        }
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Roll => "new workers",
            Self::NewPrimary => "a new primary",
            Self::Restart => "a restart",
        })
    }
}

/// What has changed, by the alphabet. Secrets are hidden, but that they have changed is told.
///
/// # Errors
///
/// If a path or an argument is not UTF-8.
pub(crate) fn changes(old: &App, new: &App) -> serde_json::Result<Vec<Change>> {
    let before = Both::of(old)?;
    let now = Both::of(new)?;
    let settings: std::collections::BTreeSet<_> =
        before.real.keys().chain(now.real.keys()).collect();
    let changed =
        settings.into_iter().filter(|setting| before.real.get(*setting) != now.real.get(*setting));
    let change = |setting: &String| Change {
        setting: setting.clone(),
        old: before.shown.get(setting).cloned(),
        new: now.shown.get(setting).cloned(),
        needs: Needs::of(setting),
    };
    Ok(changed.map(change).collect())
}

/// The app is in another folder now.
pub(crate) fn moved(old: &str, new: &str) -> Option<Change> {
    let change = || Change {
        setting: DIRECTORY.to_owned(),
        old: Some(old.into()),
        new: Some(new.into()),
        needs: Needs::of(DIRECTORY),
    };
    (old != new).then(change)
}

/// The settings that hold when what takes a restart is left as it was.
///
/// # Errors
///
/// If a path or an argument is not UTF-8.
pub(crate) fn without_restart(old: &App, new: &App) -> serde_json::Result<App> {
    let (before, mut now) = (serde_json::to_value(old)?, serde_json::to_value(new)?);
    for change in changes(old, new)?.iter().filter(|change| change.needs == Needs::Restart) {
        put_back(&change.setting, &before, &mut now);
    }
    serde_json::from_value(now)
}

fn put_back(setting: &str, before: &Value, now: &mut Value) {
    let (first, rest) = setting.split_once('.').unwrap_or((setting, ""));
    let Some(table) = now.as_object_mut() else { return };
    match (rest, before.get(first)) {
        ("", Some(old)) => drop(table.insert(first.to_owned(), old.clone())),
        ("", None) => drop(table.remove(first)),
        (rest, old) => {
            let inner = table.entry(first).or_insert_with(|| Value::Object(Map::new()));
            put_back(rest, old.unwrap_or(&Value::Null), inner);
        }
    }
}

/// The most that any of them takes.
pub(crate) fn needs(changes: &[Change]) -> Needs {
    changes.iter().map(|change| change.needs).max().unwrap_or(Needs::Nothing)
}

/// An app's settings, each by its name with the tables it is in.
struct Both {
    real: BTreeMap<String, Value>,
    shown: BTreeMap<String, Value>,
}

impl Both {
    fn of(app: &App) -> serde_json::Result<Self> {
        let (mut real, mut shown) = (BTreeMap::new(), BTreeMap::new());
        flatten("", serde_json::to_value(app)?, &mut real);
        flatten("", secrets::hidden(app)?, &mut shown);
        Ok(Self { real, shown })
    }
}

fn flatten(prefix: &str, value: Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                flatten(&name, value, into);
            }
        }
        value => {
            into.insert(prefix.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::schema;

    fn app(settings: Value) -> App {
        serde_json::from_value(settings).unwrap()
    }

    #[test]
    fn it_is_decided_for_every_setting() {
        let is_known = |setting: &str| {
            let tables: Vec<_> = setting.match_indices('.').map(|(at, _)| &setting[..at]).collect();
            NEEDS.iter().any(|(name, _)| *name == setting || tables.contains(name))
        };
        let unknown: Vec<_> =
            schema::settings().into_iter().filter(|setting| !is_known(setting)).collect();
        assert!(unknown.is_empty(), "say what these need: {unknown:?}");
    }

    #[test]
    fn every_entry_is_of_settings_that_there_are() {
        let settings = schema::settings();
        for (name, _) in NEEDS.iter().filter(|(name, _)| *name != DIRECTORY) {
            let is_it =
                |setting: &String| setting == name || setting.starts_with(&format!("{name}."));
            assert!(settings.iter().any(is_it), "{name}");
        }
    }

    #[test]
    fn the_more_exact_entry_counts() {
        assert_eq!(Needs::of("drain.timeout"), Needs::NewPrimary);
        assert_eq!(Needs::of("drain.no_agent"), Needs::Roll);
        assert_eq!(Needs::of("env.production.PORT"), Needs::Roll);
        assert_eq!(Needs::of("env_file"), Needs::Roll);
        assert_eq!(Needs::of("roll.spares"), Needs::Restart);
    }

    #[test]
    fn changes_are_told_with_what_they_need_and_without_secrets() {
        let old = app(json!({
            "program": "a.js", "workers": 2, "listen": 8000,
            "env": {"PORT": 1, "TOKEN": "old secret", "GONE": "x", "SAME_KEY": "secret"},
            "restart": {"limit": 3},
        }));
        let new = app(json!({
            "program": "a.js", "workers": 4, "listen": [8000],
            "env": {"PORT": 2, "TOKEN": "new secret", "SAME_KEY": "secret"},
            "restart": {"limit": 3, "delay": "1s"}, "args": ["--password", "secret"],
        }));
        let changes = changes(&old, &new).unwrap();
        assert_eq!(needs(&changes), Needs::NewPrimary);
        let shown = |value: &Option<Value>| value.as_ref().map_or("-".into(), ToString::to_string);
        let lines: Vec<_> = changes
            .iter()
            .map(|change| {
                let (old, new) = (shown(&change.old), shown(&change.new));
                format!("{}: {old} to {new}: {}", change.setting, change.needs)
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn what_takes_a_restart_can_be_left_as_it_was() {
        let old = app(json!({"program": "a.js", "listen": 8000, "roll": {"spares": 1}}));
        let new = app(json!({
            "program": "b.js", "listen": 9000, "policy": "shared", "roll": {"surge": "2"},
        }));
        let expected = json!({
            "program": "b.js", "listen": 8000, "roll": {"spares": 1, "surge": "2"},
        });
        assert_eq!(without_restart(&old, &new).unwrap(), app(expected));
        assert_eq!(without_restart(&new, &new).unwrap(), new);
    }

    #[test]
    fn what_is_the_same_is_no_change() {
        let one = app(json!({"program": "a.js", "env": {"TOKEN": "s"}}));
        assert_eq!(changes(&one, &one.clone()).unwrap(), []);
        assert_eq!(needs(&[]), Needs::Nothing);
        assert_eq!(moved("/a", "/a"), None);
        assert_eq!(moved("/a", "/b").unwrap().needs, Needs::Restart);
    }
}
