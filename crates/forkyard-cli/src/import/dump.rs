//! What `pm2 save` writes: a list of processes, each with all that PM2 knows of it.
//!
//! ```text
//!   { name, pm_exec_path, pm_cwd, …settings,     one for each process
//!     env: { …the shell's, …the app's },
//!     …the same variables once more, …what PM2 has noted }
//! ```

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::attributes::Attributes;
use super::source::Source;

/// What is PM2's own: under this name the process has it, under that one the file had.
const RENAMED: [(&str, &str); 5] = [
    ("pm_exec_path", "script"),
    ("pm_cwd", "cwd"),
    ("pm_out_log_path", "out_file"),
    ("pm_err_log_path", "error_file"),
    ("pm_log_path", "log_file"),
];

/// What else a file may have told, and a process has under the same name. All others are variables,
/// or what PM2 has noted.
const TOLD: [&str; 38] = [
    "name",
    "namespace",
    "args",
    "node_args",
    "exec_interpreter",
    "exec_mode",
    "watch",
    "ignore_watch",
    "watch_delay",
    "watch_options",
    "max_memory_restart",
    "source_map_support",
    "disable_source_map_support",
    "instance_var",
    "increment_var",
    "filter_env",
    "append_env_to_name",
    "log_type",
    "log_date_format",
    "time",
    "disable_logs",
    "merge_logs",
    "min_uptime",
    "max_restarts",
    "restart_delay",
    "exp_backoff_restart_delay",
    "autorestart",
    "autostart",
    "stop_exit_codes",
    "cron_restart",
    "listen_timeout",
    "kill_timeout",
    "shutdown_with_message",
    "wait_ready",
    "treekill",
    "post_update",
    "uid",
    "gid",
];

/// Variables of the session in which PM2 was started: nobody means them for the app. `PATH` is among
/// them, because it is Forkyard's own that counts.
const OF_SESSION: [&str; 24] = [
    "_",
    "COLORTERM",
    "DISPLAY",
    "EDITOR",
    "HOME",
    "HOSTNAME",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LANG",
    "LESS",
    "LOGNAME",
    "LS_COLORS",
    "MAIL",
    "OLDPWD",
    "PAGER",
    "PATH",
    "PS1",
    "PWD",
    "SHELL",
    "SHLVL",
    "TERM",
    "TMPDIR",
    "USER",
    "unique_id",
];
const OF_SESSION_BEGIN: [&str; 12] = [
    "PM2_", "pm_", "SSH_", "XDG_", "DBUS_", "TMUX", "NVM_", "npm_", "LC_", "SUDO_", "VSCODE_",
    "axm_",
];

/// The apps in a list of processes; `None` if it is none. What stands in the `environment` of whoever
/// asks with the same value is its shell's.
pub(super) fn source(value: Value, environment: &BTreeMap<String, String>) -> Option<Source> {
    let Value::Array(processes) = value else { return None };
    let mut apps: Vec<(Key, Vec<Map<String, Value>>)> = Vec::new();
    for process in processes {
        let Value::Object(process) = process else { return None };
        let key = key(&process);
        match apps.iter_mut().find(|(other, _)| *other == key) {
            Some((_, instances)) => instances.push(process),
            None => apps.push((key, vec![process])),
        }
    }
    let apps = apps.into_iter().map(|(_, instances)| app(instances, environment)).collect();
    Some(Source { apps, notes: Vec::new() })
}

type Key = (Option<String>, Option<String>);

/// Processes of the same name are instances of one app.
fn key(process: &Map<String, Value>) -> Key {
    let text = |name| process.get(name).and_then(Value::as_str).map(str::to_owned);
    (text("namespace"), text("name"))
}

fn app(instances: Vec<Map<String, Value>>, environment: &BTreeMap<String, String>) -> Attributes {
    let count = instances.len();
    let is_stopped =
        instances.iter().all(|process| process.get("status") == Some(&"stopped".into()));
    let first = instances.into_iter().next().unwrap_or_default();
    let mut app = told(first, environment);
    app.insert("instances".to_owned(), count.into());
    if is_stopped {
        app.insert("autostart".to_owned(), false.into());
    }
    Attributes::of(app, None)
}

fn told(
    mut process: Map<String, Value>,
    environment: &BTreeMap<String, String>,
) -> Map<String, Value> {
    let name = process.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_own_log = |path: &Value| path.as_str().is_some_and(|path| is_pm2_s(path, &name));
    let mut app = Map::new();
    for (from, to) in RENAMED {
        if let Some(value) = process.remove(from).filter(|value| !is_own_log(value)) {
            app.insert(to.to_owned(), value);
        }
    }
    let environments = process.keys().filter(|key| key.starts_with("env_")).cloned();
    let keys: Vec<_> = environments.chain(TOLD.map(str::to_owned)).collect();
    for key in keys {
        if let Some(value) = process.remove(&key) {
            app.insert(key, value);
        }
    }
    let counters = ["instance_var", "increment_var"].map(|key| app.get(key).cloned());
    if let Some(Value::Object(env)) = process.remove("env") {
        let is_counter = |key: &str| counters[0].as_ref().is_some_and(|counter| counter == key);
        let is_app_s = |key: &str, value: &Value| {
            let is_shell_s = environment.get(key).map(String::as_str) == value.as_str();
            !(is_of_session(key) || is_counter(key) || key == name || key == "io")
                && (value.as_str().is_none() || !is_shell_s)
        };
        let env: Map<_, _> = env.into_iter().filter(|(key, value)| is_app_s(key, value)).collect();
        app.insert("env".to_owned(), env.into());
    }
    app
}

fn is_of_session(name: &str) -> bool {
    OF_SESSION.contains(&name) || OF_SESSION_BEGIN.iter().any(|start| name.starts_with(start))
}

/// PM2 puts its logs there by itself: `~/.pm2/logs/NAME-out.log`.
fn is_pm2_s(path: &str, name: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || ".-".contains(letter);
    let name: String = name.chars().map(|c| if plain(c) { c } else { '-' }).collect();
    path.contains("/logs/")
        && path.rsplit('/').next().is_some_and(|file| {
            file.strip_prefix(&name).is_some_and(|rest| {
                (rest.starts_with("-out") || rest.starts_with("-error")) && rest.ends_with(".log")
            })
        })
}
