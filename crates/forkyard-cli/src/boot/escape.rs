//! Names and words as systemd wants them: `systemd-escape(1)`, `systemd.syntax(7)`.

use std::fmt::Write;

/// An app's name as the instance of a template unit, as `systemd-escape NAME` has it.
pub(crate) fn instance(name: &str) -> String {
    let mut escaped = String::new();
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'/' => escaped.push('-'),
            b'.' if at == 0 => escaped.push_str("\\x2e"),
            b':' | b'_' | b'.' => escaped.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => escaped.push(char::from(byte)),
            byte => {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "\\x{byte:02x}");
            }
        }
    }
    escaped
}

/// The name that an instance stands for; `None` for what is none.
pub(crate) fn name(instance: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = instance.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'-' => b'/',
            b'\\' => {
                let code = [rest.next()?, rest.next()?, rest.next()?];
                let digits = std::str::from_utf8(&code).ok()?.strip_prefix('x')?;
                u8::from_str_radix(digits, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// One word, also with spaces in it. `%` would begin a specifier.
pub(crate) fn word(text: &str) -> String {
    let text = text.replace('%', "%%");
    let plain = |c: char| c.is_alphanumeric() || "/-_.,:=+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `systemd-escape` of systemd 252 has them.
    #[test]
    fn names_become_instances_and_come_back() {
        for (app, escaped) in [
            ("web", "web"),
            ("shop_web:1.2", "shop_web:1.2"),
            ("my-app", "my\\x2dapp"),
            ("a b", "a\\x20b"),
            (".hidden", "\\x2ehidden"),
            ("team/web", "team-web"),
            ("caf\u{e9}", "caf\\xc3\\xa9"),
            ("a@b%c\\d", "a\\x40b\\x25c\\x5cd"),
        ] {
            assert_eq!(instance(app), escaped);
            assert_eq!(name(escaped).as_deref(), Some(app));
        }
        for bad in ["\\", "\\x2", "\\y20", "\\xzz", "\\x\u{e9}", "\\xff"] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }

    #[test]
    fn words_stay_as_they_are() {
        for (text, expected) in [
            ("/usr/bin/forkyard", "/usr/bin/forkyard"),
            ("/opt/my apps/x", "\"/opt/my apps/x\""),
            ("/opt/50%/x", "/opt/50%%/x"),
            ("a$b", "\"a$b\""),
            ("a\"b\\c", "\"a\\\"b\\\\c\""),
            ("", "\"\""),
        ] {
            assert_eq!(word(text), expected);
        }
    }
}
