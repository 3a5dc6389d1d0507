//! How it reads that an app reloads by itself.

use std::path::PathBuf;

use jiff::Zoned;
use serde_json::json;

use super::describe::counted;
use super::{Entry, Level};
use crate::triggers::{Cause, Schedule, Watched};

/// How many files people are told by name.
const NAMED: usize = 3;

pub(super) fn wanted(cause: &Cause) -> Entry {
    match cause {
        Cause::Changed { files, others } => changed(files, *others),
        Cause::Scheduled { at, schedule } => {
            let text = format!("it is {}, time for a reload ({schedule})", shown(at));
            let fields = json!({
                "cause": "scheduled", "at": moment(at), "schedule": schedule.to_string(),
            });
            Entry::new(Level::Info, "reload_wanted", text, fields)
        }
    }
}

fn changed(files: &[PathBuf], others: usize) -> Entry {
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    let unnamed = others + names.len().saturating_sub(NAMED);
    let mut text = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match (text.is_empty(), unnamed) {
        (false, 0) => {}
        (false, _) => text.push_str(&format!(" and {unnamed} more")),
        (true, _) => text.push_str("so much that not every file is known"),
    }
    let fields = json!({ "cause": "changed", "files": names, "others": others });
    Entry::new(Level::Info, "reload_wanted", format!("changed: {text}"), fields)
}

pub(super) fn scheduled(at: &Zoned, schedule: &Schedule) -> Entry {
    let text = format!("the next reload by the clock is on {} ({schedule})", shown(at));
    let fields = json!({ "at": moment(at), "schedule": schedule.to_string() });
    Entry::new(Level::Info, "reload_scheduled", text, fields)
}

pub(super) fn missed(at: &Zoned, schedule: &Schedule) -> Entry {
    let text = format!(
        "left out the reload of {} ({schedule}): the clock has gone on by hours since",
        shown(at)
    );
    let fields = json!({ "at": moment(at), "schedule": schedule.to_string() });
    Entry::new(Level::Warn, "reload_missed", text, fields)
}

/// Nobody who watches files means none.
pub(super) fn watching(watched: Watched) -> Entry {
    let Watched { directories, files } = watched;
    let fields = json!({ "files": files, "directories": directories });
    match files {
        0 => {
            let text = "watching, but there is no file that --watch means; globs are relative to \
                        the app's directory, and what Git ignores has to be named"
                .to_owned();
            Entry::new(Level::Warn, "watching", text, fields)
        }
        _ => {
            let places = if directories == 1 { "directory" } else { "directories" };
            let text = format!("watching {} in {directories} {places}", counted(files, "file"));
            Entry::new(Level::Info, "watching", text, fields)
        }
    }
}

/// For people: `2026-03-29 03:00:00 +02:00 (Europe/Berlin)`.
fn shown(at: &Zoned) -> String {
    let zone = at.time_zone().iana_name().map(|name| format!(" ({name})"));
    format!("{}{}", at.strftime("%F %T %:z"), zone.unwrap_or_default())
}

/// For machines, as RFC 3339 has it.
fn moment(at: &Zoned) -> String {
    at.strftime("%FT%T%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cause: &Cause) -> String {
        wanted(cause).text
    }

    #[test]
    fn files_are_named_as_far_as_it_helps() {
        let cause = |names: &[&str], others| Cause::Changed {
            files: names.iter().map(PathBuf::from).collect(),
            others,
        };
        assert_eq!(text(&cause(&["a", "b", "c"], 0)), "changed: a, b, c");
        assert_eq!(text(&cause(&["a", "b", "c", "d"], 2)), "changed: a, b, c and 3 more");
        assert!(text(&cause(&[], 1)).contains("not every file"));
    }

    #[test]
    fn times_are_told_with_their_zone() {
        let at: Zoned = "2026-03-29T03:00:00+02:00[Europe/Berlin]".parse().unwrap();
        let schedule: Schedule = "30 2 * * *".parse().unwrap();
        let entry = scheduled(&at, &schedule);
        assert!(entry.text.contains("2026-03-29 03:00:00 +02:00 (Europe/Berlin)"), "{entry:?}");
        assert_eq!(entry.fields["at"], "2026-03-29T03:00:00+02:00");
        let cause = Cause::Scheduled { at, schedule };
        assert_eq!(wanted(&cause).fields["schedule"], "30 2 * * *");
    }
}
