//! Files of environment variables (`--env-file`), as Node's `--env-file` reads them, except
//! that what Node skips silently is an error here.
//!
//! ```text
//! # a comment
//! export NAME=value          # blanks around it do not count
//! NAME='as it stands'        or "with \n for a new line" or `…`, also over several lines
//! ```
//!
//! Nothing is put in for `$NAME`. Values are secrets: no message shows any part of one.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::exit_code::Failure;

/// The longest file that is read: whoever names a disk by mistake shall be told.
const LONGEST: usize = 1024 * 1024;

/// Variables in the order of the file; of two of one name the later one counts.
pub(crate) type Variables = Vec<(String, String)>;

/// Reads a file. `shown` is what the user calls it.
pub(crate) fn read(path: &Path, shown: &Path) -> Result<Variables, Failure> {
    let failed = |why: String| {
        Failure::usage(format!("failed to read the variables of {}: {why}", shown.display()))
    };
    let bytes = read_bounded(path).map_err(|error| failed(format!("{error}; check --env-file")))?;
    if bytes.len() > LONGEST {
        return Err(failed("it is longer than 1 MiB; check --env-file".into()));
    }
    parse(&bytes).map_err(|wrong| {
        Failure::usage(format!(
            "failed to read the variables of {}:{}: {}",
            shown.display(),
            wrong.line,
            wrong.why
        ))
    })
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What is wrong with a file, and where.
#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    /// Counted from 1.
    line: usize,
    why: &'static str,
}

fn parse(bytes: &[u8]) -> Result<Variables, Wrong> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = line_at(bytes, error.valid_up_to());
        Wrong { line, why: "it is not UTF-8; save it as such" }
    })?;
    if let Some(at) = text.find('\0') {
        let why = "a variable cannot have a zero byte; take it out";
        return Err(Wrong { line: line_at(bytes, at), why });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut reader = Reader { rest: &text, line: 1 };
    let mut variables = Variables::new();
    while !reader.rest.is_empty() {
        variables.extend(reader.variable()?);
    }
    Ok(variables)
}

fn line_at(bytes: &[u8], at: usize) -> usize {
    1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count()
}

/// What is left of a file.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    /// The next line's variable, if it has one.
    fn variable(&mut self) -> Result<Option<(String, String)>, Wrong> {
        let line = self.rest.split('\n').next().unwrap_or_default();
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with('#') {
            self.take_line();
            return Ok(None);
        }
        let Some((name, _)) = line.split_once('=') else {
            return Err(self.wrong("it is no variable; write it as NAME=VALUE"));
        };
        self.rest = &self.rest[name.len() + 1..];
        let name = self.name(name)?;
        let value = self.value()?;
        Ok(Some((name.to_owned(), value)))
    }

    fn name(&self, text: &'a str) -> Result<&'a str, Wrong> {
        let text = text.trim();
        let name = match text.split_once([' ', '\t']) {
            Some(("export", name)) => name.trim_start(),
            _ => text,
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        match !name.is_empty() && name.chars().all(fits) {
            true => Ok(name),
            false => Err(self.wrong(
                "its name is none; use letters, digits, `_`, `.` and `-`, as in NAME=VALUE",
            )),
        }
    }

    fn value(&mut self) -> Result<String, Wrong> {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        match self.rest.chars().next() {
            Some(quote @ ('"' | '\'' | '`')) => self.quoted(quote),
            _ => {
                let line = self.take_line();
                Ok(without_comment(line).trim().to_owned())
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, Wrong> {
        let inner = &self.rest[1..];
        let Some(length) = inner.find(quote) else {
            return Err(self.wrong("its quote is not closed; close it, or quote with another one"));
        };
        let (value, after) = (&inner[..length], &inner[length + 1..]);
        self.line += value.matches('\n').count();
        self.rest = after;
        if !without_comment(after.split('\n').next().unwrap_or_default()).trim().is_empty() {
            return Err(self.wrong("something follows the closing quote; quote with another one"));
        }
        self.take_line();
        Ok(match quote {
            '"' => value.replace("\\n", "\n"),
            _ => value.to_owned(),
        })
    }

    /// Goes on with the next line.
    fn take_line(&mut self) -> &'a str {
        self.line += 1;
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        line
    }

    fn wrong(&self, why: &'static str) -> Wrong {
        Wrong { line: self.line, why }
    }
}

fn without_comment(text: &str) -> &str {
    text.split('#').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> String {
        let variables = parse(text.as_bytes()).unwrap();
        assert_eq!(variables.len(), 1, "{variables:?}");
        assert_eq!(variables[0].0, "A");
        variables[0].1.clone()
    }

    fn wrong(text: impl AsRef<[u8]>) -> (usize, &'static str) {
        let wrong = parse(text.as_ref()).unwrap_err();
        (wrong.line, wrong.why)
    }

    /// Each value is what Node 24's `util.parseEnv` makes of the text.
    #[test]
    fn values_are_node_s() {
        for (text, value) in [
            ("A=b", "b"),
            ("A=", ""),
            ("A=b=c", "b=c"),
            ("  A  =  b c  ", "b c"),
            ("A=b # c", "b"),
            ("A=b#c", "b"),
            ("A=$B${C}", "$B${C}"),
            ("A=it's", "it's"),
            ("export A=b", "b"),
            ("\n# B=c\n\nA=b\n\n", "b"),
            ("A=' b # c '", " b # c "),
            ("A='b' # c", "b"),
            ("A=''", ""),
            ("A='b\\nc'", "b\\nc"),
            ("A=\"b\\nc\"", "b\nc"),
            ("A=\"b\nc\"", "b\nc"),
            ("A=`'b' and \"c\"`", "'b' and \"c\""),
            ("A=b\r\n", "b"),
            ("A=\"b\r\nc\"\r\n", "b\nc"),
        ] {
            assert_eq!(one(text), value, "{text:?}");
        }
    }

    #[test]
    fn variables_come_in_order() {
        let variables = parse(b"\xef\xbb\xbfA=1\nB.b-c='2\n2'\nA=3").unwrap();
        let expected = [("A", "1"), ("B.b-c", "2\n2"), ("A", "3")];
        assert_eq!(variables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_is_wrong_is_said_where_it_is() {
        for (text, line, why) in [
            ("A=1\nsecret\nB=2", 2, "NAME=VALUE"),
            ("=1", 1, "name"),
            ("A B=1", 1, "name"),
            ("exportA B=1", 1, "name"),
            ("A='1\n2'\n\nB='secret", 4, "not closed"),
            ("A=\"1\n\" secret", 2, "follows"),
            ("A=1\nB=\0", 2, "zero byte"),
        ] {
            let (found, said) = wrong(text);
            assert_eq!(found, line, "{text:?}: {said}");
            assert!(said.contains(why), "{text:?}: {said}");
        }
        assert_eq!(wrong(b"A=1\nB=\xff").0, 2);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let message = read(&dir.path().join("none"), Path::new("none")).unwrap_err().to_string();
        assert!(message.contains("variables of none: No such file"), "{message}");
        let message = read(dir.path(), Path::new("folder")).unwrap_err().to_string();
        assert!(message.contains("variables of folder: Is a directory"), "{message}");
        let message = read(Path::new("/dev/zero"), Path::new("zero")).unwrap_err().to_string();
        assert!(message.contains("longer than 1 MiB"), "{message}");
    }

    #[test]
    fn a_message_names_file_and_line_and_shows_no_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        for text in ["A=1\nsecret", "A='secret", "A='b'secret", "secret secret=secret"] {
            std::fs::write(&path, text).unwrap();
            let message = read(&path, Path::new("my.env")).unwrap_err().to_string();
            assert!(message.contains("my.env:"), "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
