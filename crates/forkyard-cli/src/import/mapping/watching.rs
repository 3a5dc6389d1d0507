//! What makes an app reload by itself. PM2 restarts it at once, whoever is being served.

use std::path::Path;

use serde_json::Value;

use super::time;
use crate::import::Draft;
use crate::import::attributes::{Attributes, as_text};
use crate::triggers::{Glob, Schedule};

/// What PM2 leaves out if it is not told what (`ignored` in `lib/Watcher.js`), beside
/// `node_modules`.
const HIDDEN: &str = "!.*";

pub(super) fn watch(app: &mut Attributes, draft: &mut Draft) {
    let left_out = app.take("ignore_watch");
    let delay = app.milliseconds("watch_delay");
    let options = app.take("watch_options");
    let Some(wanted) = app.take("watch").filter(|watch| *watch != Value::Bool(false)) else {
        return;
    };
    let mut globs = match &wanted {
        Value::Bool(true) => vec!["**".to_owned()],
        Value::Array(list) if list.is_empty() => vec!["**".to_owned()],
        other => read(app, draft, "watch", other, ""),
    };
    match &left_out {
        Some(left_out) => globs.extend(read(app, draft, "ignore_watch", left_out, "!")),
        None => globs.push(HIDDEN.to_owned()),
    }
    draft.set("watch", globs);
    if let Some(delay) = delay.filter(|delay| *delay > 0) {
        draft.set("watch_quiet", time(delay));
    }
    if options.is_some() {
        draft.note("watch_options", "they are chokidar's own; see docs/watch-and-schedule.md");
    }
}

/// Paths are from the app's directory on.
fn read(
    app: &Attributes,
    draft: &mut Draft,
    about: &str,
    value: &Value,
    start: &str,
) -> Vec<String> {
    let one = std::slice::from_ref(value);
    let list = value.as_array().map_or(one, Vec::as_slice);
    let cwd = draft.settings.get("cwd").and_then(Value::as_str).map(str::to_owned);
    let mut globs = Vec::new();
    for path in list {
        let glob = as_text(path).map(|path| format!("{start}{}", below(&path, cwd.as_deref())));
        let glob = glob.map(|glob| if start.is_empty() { anchored(glob) } else { glob });
        match glob.as_deref().map(str::parse::<Glob>) {
            Some(Ok(_)) => globs.extend(glob),
            Some(Err(error)) => {
                draft.note(about, format!("{} is not watched: {error}", glob.unwrap_or_default()));
            }
            None => {
                let what = app.foreign(path).unwrap_or("something else").to_owned();
                draft.note(about, format!("{what} cannot be carried over; write a glob"));
            }
        }
    }
    globs
}

fn below(path: &str, cwd: Option<&str>) -> String {
    let below = cwd.and_then(|cwd| Path::new(path).strip_prefix(cwd).ok());
    below.map_or_else(|| path.to_owned(), |path| path.to_string_lossy().into_owned())
}

/// To chokidar a name without a slash is one in the app's directory, here it is one anywhere. That
/// is what is meant where something is left out, such as `node_modules` and `*.log`.
fn anchored(glob: String) -> String {
    if glob.contains('/') { glob } else { format!("./{glob}") }
}

pub(super) fn schedule(app: &mut Attributes, draft: &mut Draft) {
    let Some(line) = app.text("cron_restart").filter(|line| line != "0" && !line.is_empty()) else {
        return;
    };
    match line.parse::<Schedule>() {
        Ok(_) => draft.set("schedule", line),
        Err(error) => draft.note("cron_restart", format!("{line:?} is not carried over: {error}")),
    }
}
