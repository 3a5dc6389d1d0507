//! What is run, by what, and how often.

use std::path::Path;

use crate::import::Draft;
use crate::import::attributes::{Attributes, as_text};

/// What PM2 runs files with that end like this (`lib/API/interpreter.json`), where Forkyard does
/// not do so by itself.
const INTERPRETERS: [(&str, &str); 5] =
    [("sh", "bash"), ("py", "python3"), ("rb", "ruby"), ("php", "php"), ("pl", "perl")];

/// What Forkyard runs with Node by itself.
const SCRIPTS: [&str; 6] = ["js", "mjs", "cjs", "ts", "mts", "cts"];

pub(super) fn program(app: &mut Attributes, draft: &mut Draft) {
    let cwd = app.text("cwd");
    let script = app.text("script").unwrap_or_default();
    let args = app.words("args").unwrap_or_default();
    let interpreter = app.text("exec_interpreter").filter(|name| !name.is_empty());
    if script.is_empty() {
        draft.note("script", "there is none; name the program");
    }
    if script.contains(' ') {
        // PM2 has a shell do it, whatever else it is told.
        draft.set("program", "bash");
        draft.set("args", vec!["-c".to_owned(), script]);
    } else {
        set_interpreter(app, draft, &script, interpreter.as_deref());
        draft.set("program", shortened(&script, cwd.as_deref()));
        if !args.is_empty() {
            draft.set("args", args);
        }
    }
    if let Some(cwd) = cwd {
        draft.set("cwd", cwd);
    }
}

/// From the app's directory on, where the program is looked for.
fn shortened(script: &str, cwd: Option<&str>) -> String {
    let below = cwd.and_then(|cwd| Path::new(script).strip_prefix(cwd).ok());
    below.map_or_else(|| script.to_owned(), |path| path.to_string_lossy().into_owned())
}

fn set_interpreter(
    app: &mut Attributes,
    draft: &mut Draft,
    script: &str,
    interpreter: Option<&str>,
) {
    let ending = Path::new(script).extension().unwrap_or_default().to_string_lossy();
    let is_script = SCRIPTS.contains(&&*ending);
    let by_ending = INTERPRETERS.iter().find(|(other, _)| *other == ending);
    match interpreter {
        Some("none") => {}
        Some("node") if is_script => {}
        Some(name) if name.starts_with("node@") => draft.note(
            "interpreter",
            format!("{name} is looked up by nvm; name the path of that node as `interpreter`"),
        ),
        Some(name) => draft.set("interpreter", name),
        None => {
            if let Some((_, name)) = by_ending {
                draft.set("interpreter", *name);
            }
        }
    }
    interpreter_args(app, draft);
}

/// PM2 loads a library for source maps; Node can do it by itself.
fn interpreter_args(app: &mut Attributes, draft: &mut Draft) {
    let mut args = app.words("node_args").unwrap_or_default();
    let wants_maps = app.flag("source_map_support") == Some(true);
    if wants_maps && app.flag("disable_source_map_support") != Some(true) {
        args.push("--enable-source-maps".to_owned());
    }
    app.take("disable_source_map_support");
    if args.iter().any(|arg| arg.contains(char::is_whitespace)) {
        draft.note("node_args", "an argument with a space in it becomes two");
    }
    if !args.is_empty() {
        draft.set("interpreter_args", args);
    }
}

pub(super) fn workers(app: &mut Attributes, draft: &mut Draft) {
    let told = app.take("instances");
    let number = told.as_ref().and_then(as_text).unwrap_or_else(|| "1".to_owned());
    let count = match number.trim() {
        "max" => Some(0),
        other => other.parse::<f64>().ok().map(|number| number as i64),
    };
    match count {
        Some(count @ 1..) => draft.set("workers", count),
        Some(0) => draft.set("workers", "max"),
        Some(less) => {
            draft.set("workers", "max");
            let why = format!(
                "{less} means as many less than there are cores, which `workers` has not; it is \
                 `max` now"
            );
            draft.note("instances", why);
        }
        None => app.odd("instances"),
    }
    let mode = app.text("exec_mode").unwrap_or_default();
    if mode.starts_with("fork") && count.is_some_and(|count| count != 1) {
        let why = "in fork mode each instance binds a port of its own; here the workers of a Node \
                   program share one port, and other programs want `port` or `listen`";
        draft.note("exec_mode", why);
    }
}
