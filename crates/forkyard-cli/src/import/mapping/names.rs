//! What an app is called, and together with which others.

use std::path::Path;

use crate::import::Draft;
use crate::import::attributes::Attributes;

/// Part of a socket's path, which has its bounds.
const LONGEST: usize = 40;

pub(super) fn name(app: &mut Attributes, draft: &mut Draft, taken: &[&str]) {
    let told = app.text("name");
    let script = app.peek("script").and_then(|script| script.as_str()).unwrap_or_default();
    let stem = || Path::new(script).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let wanted = told.or_else(stem).unwrap_or_default();
    let fitting = fitting(&wanted);
    let name = free(&fitting, taken);
    if name != wanted && !wanted.is_empty() {
        draft.note("name", format!("{wanted:?} cannot be used, so it is called {name:?}"));
    }
    draft.name = name;
    if let Some(group) = app.text("namespace").filter(|namespace| namespace != "default") {
        draft.set("groups", vec![group]);
    }
}

/// Of what a name may have: it stands in paths and on command lines.
fn fitting(wanted: &str) -> String {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "-_.@+".contains(c);
    let name: String = wanted.chars().map(|c| if is_fine(c) { c } else { '-' }).collect();
    let name: String = name.trim_start_matches(['.', '-']).chars().take(LONGEST).collect();
    match &*name {
        "" => "app".to_owned(),
        // It means every app.
        "all" => "all-apps".to_owned(),
        _ => name,
    }
}

fn free(name: &str, taken: &[&str]) -> String {
    let numbered = (2..).map(|number| {
        let ending = format!("-{number}");
        let start: String = name.chars().take(LONGEST - ending.len()).collect();
        start + &ending
    });
    let mut candidates = [name.to_owned()].into_iter().chain(numbered);
    candidates.find(|name| !taken.contains(&&**name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_stand_in_paths_and_on_command_lines() {
        for (wanted, name) in [
            ("web", "web"),
            ("my app", "my-app"),
            ("api:v2", "api-v2"),
            ("-x", "x"),
            ("..", "app"),
            ("all", "all-apps"),
            ("\u{e4}pp", "pp"),
        ] {
            assert_eq!(fitting(wanted), name, "{wanted}");
        }
        assert_eq!(fitting(&"x".repeat(60)).len(), LONGEST);
    }

    #[test]
    fn a_name_is_there_once() {
        assert_eq!(free("web", &[]), "web");
        assert_eq!(free("web", &["web", "web-2"]), "web-3");
        let long = "x".repeat(LONGEST);
        assert_eq!(free(&long, &[&long]).len(), LONGEST);
    }
}
