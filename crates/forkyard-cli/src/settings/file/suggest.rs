//! What was probably meant.

use std::sync::LazyLock;

use crate::settings::schema;

/// From how alike a word is on it may be a slip of the pen: 1 is the same, 0 has nothing in common.
const ALIKE: f64 = 0.6;

/// What other process managers, and flags, call settings.
const OTHER_NAMES: [(&str, &str); 14] = [
    ("arguments", "args"),
    ("command", "program"),
    ("dir", "cwd"),
    ("directory", "cwd"),
    ("environment", "env"),
    ("exec", "program"),
    ("group_name", "groups"),
    ("instances", "workers"),
    ("kill_timeout", "drain.timeout"),
    ("listen_timeout", "ready.timeout"),
    ("no_restart_codes", "restart.done_codes"),
    ("node_args", "interpreter_args"),
    ("script", "program"),
    ("stop_exit_codes", "restart.done_codes"),
];

/// The most alike of some words.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = plain(word);
    let is_begun = |known: &str| word.len() > 2 && known.starts_with(&word);
    let likeness = |known: &str| match is_begun(known) {
        true => 1.0,
        false => strsim::normalized_damerau_levenshtein(&word, known),
    };
    let known = known.into_iter().map(|known| (likeness(known), known));
    let nearest = known.max_by(|a, b| a.0.total_cmp(&b.0));
    nearest.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, known)| known)
}

/// The setting of an app, with the tables it is in, that has this name somewhere else.
pub(super) fn elsewhere(key: &str) -> Option<&'static str> {
    let key = plain(key);
    if let Some((_, setting)) = OTHER_NAMES.iter().find(|(other, _)| *other == key) {
        return Some(setting);
    }
    static SETTINGS: LazyLock<Vec<String>> = LazyLock::new(schema::settings);
    let is_it = |setting: &str| setting.replace('.', "_") == key || leaf(setting) == key;
    SETTINGS.iter().map(String::as_str).find(|setting| is_it(setting))
}

fn leaf(setting: &str) -> &str {
    setting.rsplit('.').next().unwrap_or(setting)
}

fn plain(word: &str) -> String {
    word.trim_start_matches('-').replace('-', "_").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found_by_the_names_of_flags_and_of_other_managers() {
        for (key, setting) in [
            ("drain-timeout", "drain.timeout"),
            ("--restart-limit", "restart.limit"),
            ("surge", "roll.surge"),
            ("instances", "workers"),
            ("stop_exit_codes", "restart.done_codes"),
        ] {
            assert_eq!(elsewhere(key), Some(setting));
        }
        assert_eq!(elsewhere("colour"), None);
    }

    #[test]
    fn every_other_name_is_of_a_setting_that_there_is() {
        for (_, setting) in OTHER_NAMES {
            assert!(schema::settings().iter().any(|known| known == setting), "{setting}");
        }
    }

    #[test]
    fn what_is_alike_is_near() {
        let known = ["workers", "policy", "listen"];
        assert_eq!(nearest("worker", known), Some("workers"));
        assert_eq!(nearest("Listen", known), Some("listen"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("prod", ["staging", "production"]), Some("production"));
    }
}
