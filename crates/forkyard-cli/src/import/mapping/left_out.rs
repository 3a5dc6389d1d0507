//! What becomes nothing, and why.

use serde_json::Value;

use crate::import::Draft;
use crate::import::attributes::Attributes;

const OF_PM2_PLUS: &str = "it is of PM2's monitoring service, to which Forkyard does not speak; see \
                           docs/control.md for what can be asked of an app";
const NOT_NEEDED: &str = "Forkyard does not need it";

/// Each has its sentence.
const LEFT_OUT: [(&str, &str); 20] = [
    ("pid_file", "`forkyard status` tells the process ids, and none is left in a file"),
    ("vizion", "Forkyard does not look at what Git says of the program"),
    ("post_update", "Forkyard updates no program; do it before `forkyard reload`"),
    ("force", "a program may run as often as it has names"),
    ("execute_command", "whether a program is run by a shell is up to `program` and `args`"),
    ("name_prefix", "name the app as it shall be called"),
    ("install_url", OF_PM2_PLUS),
    ("username", NOT_NEEDED),
    ("windows_hide", NOT_NEEDED),
    ("kill_retry_time", "the end of a worker is waited for and not asked about"),
    ("write", NOT_NEEDED),
    ("pmx", OF_PM2_PLUS),
    ("automation", OF_PM2_PLUS),
    ("trace", OF_PM2_PLUS),
    ("disable_trace", OF_PM2_PLUS),
    ("v8", OF_PM2_PLUS),
    ("event_loop_inspector", OF_PM2_PLUS),
    ("deep_monitoring", OF_PM2_PLUS),
    ("io", OF_PM2_PLUS),
    ("km_link", OF_PM2_PLUS),
];

/// Of these nobody needs to hear if they are as PM2 has them by itself.
const BY_DEFAULT: [(&str, bool); 8] = [
    ("vizion", true),
    ("force", false),
    ("pmx", true),
    ("automation", true),
    ("windows_hide", true),
    ("trace", false),
    ("disable_trace", true),
    ("execute_command", false),
];

/// Says of all that is left why it becomes nothing.
pub(super) fn rest(mut app: Attributes, draft: &mut Draft) {
    for (name, by_default) in BY_DEFAULT {
        if app.peek(name) == Some(&Value::Bool(by_default)) {
            app.take(name);
        }
    }
    let (left, odd) = app.left();
    for name in odd {
        draft.note(&name, "its value makes no sense, so it is left out");
    }
    for name in left {
        let known = LEFT_OUT.iter().find(|(other, _)| *other == name);
        draft.note(&name, known.map_or("PM2 does not know it either", |(_, why)| why));
    }
}
