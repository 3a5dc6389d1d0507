//! What an app may be called.

/// The longest name, in bytes: it is part of a socket's path, which has to fit into 107.
const LONGEST: usize = 40;

/// The same as [`check`], for editors.
pub(crate) const PATTERN: &str = "^(?!all$)[A-Za-z0-9_@+][A-Za-z0-9_@+.-]{0,39}$";

/// Makes sure that something may be an app's name, or says what is wrong with it.
pub(crate) fn check(name: &str) -> Result<(), String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "-_.@+".contains(c);
    let wrong = if name.is_empty() {
        "it is empty"
    } else if name.len() > LONGEST {
        "it is longer than 40 characters"
    } else if name.starts_with(['.', '-']) {
        "it begins with a dot or a dash"
    } else if !name.chars().all(is_fine) {
        "it has other characters than letters, digits, - _ . @ and +"
    } else if name == "all" {
        "it means every app"
    } else {
        return Ok(());
    };
    Err(format!("{name:?} cannot be an app's name: {wrong}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_stand_in_paths_and_on_command_lines() {
        for fine in ["web", "web-2", "a", "shop@eu.1", "C++"] {
            check(fine).unwrap();
        }
        for (bad, word) in [
            ("", "empty"),
            ("all", "every app"),
            ("-x", "dash"),
            ("..", "dot"),
            ("a/b", "other characters"),
            ("a b", "other characters"),
            ("\u{e4}", "other characters"),
            (&"x".repeat(41), "40"),
        ] {
            assert!(check(bad).unwrap_err().contains(word), "{bad}");
        }
    }
}
